"""From text to values: YAML, the expressions inside it, references to other tools, durations.

Terms: a *placeholder* stands for an expression while the text around it is parsed. A *reference*
is `${{ name.instance.outputs.key }}`. A *literal* is a scalar that kept its source text.

Invariants: a value can never break the YAML around it, since expressions are taken out before the
text is parsed. Both YAML readers give the same values; only the slow one knows lines and columns.

    data = yaml.load(text, "config.yaml")
    value = references.resolve(value, outputs_of)
"""
