"""CI pipelines as files in a repository: `github-actions`, `gitlab-ci`, `ci-generic`, older names.

Terms: a *recipe* is a pipeline whatever CI system runs it. A *workflow* is a recipe as the file for
GitHub Actions, a *pipeline* one for GitLab CI. *User files* are CI files that the user brings
instead; the *origin* of a tool's files (`FileSource`) is one or the other.

Invariants:
- Every option shows in the file, and what is built in is valid by the vendor's schema.
- The repository must exist. Files that dtm did not write are refused unless they are as wanted.
- No file holds the value of a secret option: it names a CI secret, which the user sets at the host.

Where to change: an option of all plugins in `options`, of one in `github`, `gitlab` or `generic`;
its effect in `recipe` (defaults, checks), then in `workflow` and `pipeline` (text). `files` is the
provider that all plugins inherit.

    options = GitHubOptions(scm=Scm(url="./repos/app.git"), language=LanguageOptions(name="go"))
    GitHubActions().create(options, call)  # commits .github/workflows/main.yml
"""
