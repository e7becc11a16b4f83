"""From text to values: YAML, the expressions inside it, references to other tools, durations.

Terms: an *expression* is `[[ ... ]]` or `${{ ... }}`; a *placeholder* stands for it while the text
around it is parsed, a *text template* is a scalar with expressions. A *reference* is an expression
`${{ name.instance.outputs.key }}`, an *interpolation* a text with references. A *literal* is a
scalar that keeps its source text (`1.10`), since its type is decided later.

Invariants: a value can never break the YAML around it, since expressions are taken out before the
text is parsed. Both YAML readers give the same values; only the reference, `yaml`, knows lines and
columns and explains what is wrong. A text is never given to `fast_yaml` if it could be read in two
ways, nor to a parser in C or Rust if it nests deeply.

    text = yaml.parse("config.yaml", source)
    text.documents[0]           # values, with Literals and TextTemplates as leaves
    text.at(0, ("tools", 2))    # "config.yaml:14:3"
    value = references.resolve(value, outputs_of)
"""
