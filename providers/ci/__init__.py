"""CI pipelines as files in a repository: `github-actions`, `gitlab-ci`, `ci-generic`, older names.

Terms: a *recipe* is what a pipeline does, whatever runs it. A *workflow* is a recipe for GitHub
Actions, a *pipeline* one for GitLab CI.

Invariants: every option shows in the file. What is written is valid by the vendor's schema.
"""
