"""CI pipelines as files in a git repository: `github-actions`, `gitlab-ci`, `ci-generic`.

Older names are further names of these plugins, with a default language.

Terms: a *recipe* describes a pipeline for any CI system: the options with all defaults. It is
rendered as a *workflow* for GitHub Actions or as a *pipeline* for GitLab CI. *User files* are CI
files that the user provides instead. The *file source* of a tool (`FileSource`) says which of them
it writes: the rendered file or the user files.
A *CI secret* is a value that the user sets at the host (GitLab: CI/CD variable).

Invariants:
- Every option changes the generated file, and every generated file is valid by the schema of the
  vendor.
- The repository must exist. A file that dtm did not write is only accepted if it has the wanted
  content.
- No file contains the value of a secret option. It refers to a CI secret instead.

Where to make a change: an option of all plugins in `options`, an option of one plugin in `github`,
`gitlab` or `generic`; its default and check in `recipe`; the text in `workflow` (GitHub) and
`pipeline` (GitLab). `files` is the provider class that all plugins inherit from. Defaults of a
language are in `languages`, the loading of user files in `user_files`, YAML with comments in
`yamltext`.

    options = GitHubOptions(scm=Scm(url="./repos/app.git"), language=LanguageOptions(name="go"))
    GitHubActions().create(options, call)  # commits .github/workflows/main.yml
"""
