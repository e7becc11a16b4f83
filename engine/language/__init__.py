"""The room that turns text into values: YAML, expressions, references to other tools, durations.

Terms:

- An *expression* is `[[ ... ]]` or `${{ ... }}` in a configuration file.
- A *placeholder* replaces an expression while the text around it is parsed.
- A *text template* is a scalar that contains expressions.
- A *reference* is an expression `${{ name.instance.outputs.key }}`.
- An *interpolation* is a text that contains references.
- A *literal* is a scalar that keeps its source text, such as `1.10`. Whether it is a text or a
  number is decided later, by the type of the option.

Invariants:

- The value of an expression cannot break the YAML around it, since it is inserted after the text
  is parsed.
- Both YAML readers return the same values. Only the slow one, `yaml`, knows lines and columns and
  explains errors. `fast_yaml` reads a text only if both readers understand it in the same way.
- No parser in C or Rust reads a deeply nested text, which would overflow its stack.

An example:

    file = yaml.parse("config.yaml", source)
    file.documents[0]  # values, with Literals and TextTemplates as leaves
    file.at(0, ("tools", 2))  # "config.yaml:14:3"
    value = references.resolve(value, outputs_of)
"""
