"""`repo-scaffolding` with repositories on disk and over smart HTTP, changed by git itself."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dtm.plugins import installed
from dtm.testing.provider import Trial, provider_contract, trial_call
from dtm.testing.provider_cases import differences
from dtm.trials.validation import TRIALS
from engine.address import Address
from engine.errors import AuthError, NotFoundError, ProviderError
from engine.options.decode import build, decode
from engine.ports import Call
from engine.state import Resource
from providers._git.repository import GitRepository
from providers.scaffolding.options import GithubOptions, GitlabOptions, ScaffoldOptions
from providers.scaffolding.provider import github_golang, repo_scaffolding
from tests.providers._git.git_http import serve

TINY = Path(__file__).parents[3] / "fixtures" / "repos" / "tiny"
FILES = {"README.md", "docs/README.md", "run.sh", "src/app.txt"}


pytestmark = pytest.mark.usefixtures("bare_machine")


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return Call(Address("repo-scaffolding", "a"), base_dir=tmp_path, token="t-1", lineage="line-1")


def git(bare: Path, *args: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["git", "--git-dir", str(bare), *args],
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def init_bare_repository(bare: Path) -> Path:
    """Create a bare repository as a user does."""
    subprocess.run(["git", "init", "-q", "--bare", "--initial-branch=main", str(bare)], check=True)
    return bare


def commit_as_user(bare: Path, *changes: str, branch: str = "main", orphan: bool = False) -> None:
    """Commit as a user does. `changes` are lines for fast-import, as `write_file` returns them."""
    parent = "" if orphan else f"from refs/heads/{branch}^0\n"
    who = "committer Ann <ann@example.com> 1700000000 +0000"
    head = f"commit refs/heads/{branch}\n{who}\ndata 7\nby hand\n{parent}"
    git(bare, "fast-import", "--quiet", "--force", stdin=head + "\n".join(changes) + "\n")


def write_file(path: str, text: str, mode: str = "100644") -> str:
    return f'M {mode} inline "{path}"\ndata {len(text)}\n{text}'


def options(**given: Any) -> ScaffoldOptions:
    destination = {"url": "./repos/app.git", "owner": "me"} | given.pop("destination", {})
    return msgspec.convert(
        {"destinationRepo": destination, "sourceRepo": str(TINY), "vars": {"greeting": "Hello"}}
        | given,
        ScaffoldOptions,
    )


def shown(bare: Path, path: str, branch: str = "main") -> str:
    return git(bare, "show", f"{branch}:{path}")


@pytest.mark.long
def test_older_name_passes_the_provider_contract(tmp_path: Path) -> None:
    old = "github-repo-scaffolding-golang"
    found = provider_contract(github_golang(), TRIALS[old], tmp_path / "trials")
    assert [result.name for result in found if result.skipped] == []


@pytest.mark.long
def test_http_repository_passes_the_provider_contract(tmp_path: Path) -> None:
    served = tmp_path / "served"
    with serve(served) as server:

        def trial(directory: Path) -> Trial:
            bare = served / f"{directory.name}.git"
            init_bare_repository(bare)

            def delete_outside() -> None:
                shutil.rmtree(bare)
                init_bare_repository(bare)

            url = server.with_password(bare.name)
            return Trial(
                options=options(destination={"url": url}),
                call=trial_call("repo-scaffolding", directory),
                changes=[options(destination={"url": url}, vars={"greeting": "Bye"})],
                drifts={"files": lambda: commit_as_user(bare, 'D "run.sh"')},
                delete_outside=delete_outside,
                create_outside=lambda: commit_as_user(
                    bare, write_file("README.md", "mine"), orphan=True
                ),
            )

        found = provider_contract(repo_scaffolding(), trial, tmp_path / "trials")
    assert [result.name for result in found if result.skipped] == []


def test_create_renders_the_template_into_one_commit(tmp_path: Path, call: Call) -> None:
    made = repo_scaffolding().create(options(author="Bob <bob@x>"), call)
    bare = tmp_path / "repos" / "app.git"
    assert set(git(bare, "ls-tree", "-r", "--name-only", "main").split()) == FILES
    assert shown(bare, "README.md") == "# app\n\nHello from app of me, image me/app, branch main."
    assert shown(bare, "docs/README.md") == (TINY / "docs" / "README.md").read_text().strip()
    assert git(bare, "ls-tree", "main", "run.sh").startswith("100755")
    assert git(bare, "log", "--format=%an|%B", "main") == (
        "Bob|Scaffold app\n\nDtm-Address: repo-scaffolding/a\nDtm-Lineage: line-1\nDtm-Token: t-1"
    )
    assert made.outputs == {
        "owner": "me",
        "org": "",
        "repo": "app",
        "repoURL": "./repos/app.git",
        "branch": "main",
    }
    files: Any = made.attributes["files"]
    assert files["src/app.txt"] == git(bare, "rev-parse", "main:src/app.txt")


@pytest.mark.parametrize("path", sorted(FILES))
@pytest.mark.parametrize("how", ["changed", "removed", "mode"])
def test_drift_names_the_changed_file(path: str, how: str, tmp_path: Path, call: Call) -> None:
    made = repo_scaffolding().create(options(), call)
    bare = tmp_path / "repos" / "app.git"
    text = shown(bare, path) + "\n"
    mode = "100644" if path == "run.sh" else "100755"
    change = {
        "changed": write_file(path, "x"),
        "removed": f'D "{path}"',
        "mode": write_file(path, text, mode),
    }[how]
    commit_as_user(bare, change, write_file("others.txt", "not ours"))
    live = repo_scaffolding().read(options(), made, call)
    assert live is not None
    assert differences(made, live) == ["files"]
    before, after = files(made), files(live)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == {path}


def files(resource: Resource) -> Mapping[str, str]:
    found = resource.attributes["files"]
    assert isinstance(found, dict)
    return {path: str(value) for path, value in found.items()}


def test_update_commits_only_the_changed_files(tmp_path: Path, call: Call) -> None:
    provider, bare = repo_scaffolding(), tmp_path / "repos" / "app.git"
    made = provider.create(options(), call)
    commit_as_user(bare, write_file("others.txt", "not ours"))
    made = provider.update(options(vars={"greeting": "Bye"}), made, call)
    assert git(bare, "diff", "--name-only", "main~1", "main") == "README.md"
    assert shown(bare, "others.txt") == "not ours"
    provider.update(options(vars={"greeting": "Bye"}, sourceRepo="golang-cli"), made, call)
    present = set(git(bare, "ls-tree", "-r", "--name-only", "main").split())
    assert not present & {"run.sh", "src/app.txt"}
    assert {"others.txt", "go.mod", "cmd/app/main.go"} <= present
    assert git(bare, "rev-list", "--count", "main") == "4"


def test_new_branch_starts_at_the_recorded_branch(tmp_path: Path, call: Call) -> None:
    provider, bare = repo_scaffolding(), tmp_path / "repos" / "app.git"
    made = provider.create(options(), call)
    commit_as_user(bare, write_file("others.txt", "not ours"))
    moved = provider.update(options(destination={"branch": "trunk"}), made, call)
    assert moved.outputs["branch"] == "trunk"
    assert shown(bare, "others.txt", "trunk") == "not ours"
    assert shown(bare, "README.md", "main").endswith("branch main.")


def test_repository_of_another_state_is_refused_and_not_deleted(tmp_path: Path, call: Call) -> None:
    provider, bare = repo_scaffolding(), tmp_path / "repos" / "app.git"
    made = provider.create(options(), call)
    other = replace(call, lineage="line-2", token="t-2")
    for refused in (
        lambda: provider.create(options(), other),
        lambda: provider.delete(options(), made, other),
    ):
        with pytest.raises(ProviderError) as caught:
            refused()
        assert caught.value.hint
    assert set(git(bare, "ls-tree", "-r", "--name-only", "main").split()) == FILES


def test_repository_with_rewritten_history_is_not_deleted(tmp_path: Path, call: Call) -> None:
    provider, bare = repo_scaffolding(), tmp_path / "repos" / "app.git"
    made = provider.create(options(), call)
    commit_as_user(bare, write_file("README.md", "mine"), orphan=True)
    with pytest.raises(ProviderError, match="was not created by this state"):
        provider.delete(options(), made, call)
    assert shown(bare, "README.md") == "mine"


def test_create_continues_after_a_crash_before_the_first_commit(tmp_path: Path, call: Call) -> None:
    repository = GitRepository("./repos/app.git", call=call)
    repository.init_bare({"address": str(call.address), "lineage": call.lineage})
    assert repo_scaffolding().read(options(), None, call) is None
    repo_scaffolding().create(options(), call)
    assert set(repository.read() or {}) == FILES


def test_empty_repository_marked_by_another_state_is_refused(tmp_path: Path, call: Call) -> None:
    GitRepository("./repos/app.git", call=call).init_bare(
        {"address": "repo-scaffolding/a", "lineage": "line-2"}
    )
    with pytest.raises(ProviderError, match="not created by"):
        repo_scaffolding().create(options(), call)


def test_delete_removes_only_dtm_files_from_a_users_repository(tmp_path: Path, call: Call) -> None:
    provider, bare = repo_scaffolding(), tmp_path / "repos" / "app.git"
    init_bare_repository(bare)
    made = provider.create(options(), call)
    commit_as_user(bare, write_file("others.txt", "not ours"))
    warnings: list[str] = []
    provider.delete(options(), made, replace(call, warn=warnings.append))
    assert git(bare, "ls-tree", "-r", "--name-only", "main") == "others.txt"
    assert "stays" in warnings[0]
    assert provider.read(options(), made, call) is None


def commit_to_a_tag(bare: Path) -> None:
    commit_as_user(bare, write_file("others.txt", "not ours"), branch="idea")
    git(bare, "tag", "v1", "idea")
    git(bare, "branch", "-D", "idea")


def change_and_revert(bare: Path) -> None:
    commit_as_user(bare, write_file("README.md", "changed"))
    commit_as_user(bare, write_file("README.md", "# app\n"))


USER_COMMITS: list[Callable[[Path], None]] = [
    lambda bare: commit_as_user(bare, write_file("others.txt", "not ours")),
    lambda bare: commit_as_user(bare, write_file("README.md", "changed")),
    lambda bare: commit_as_user(
        bare, write_file("idea.txt", "not ours"), branch="idea", orphan=True
    ),
    commit_to_a_tag,
    change_and_revert,
]


@pytest.mark.parametrize(
    "commit_theirs", USER_COMMITS, ids=["file", "change", "branch", "tag", "put back"]
)
def test_delete_keeps_a_repository_with_commits_of_others(
    commit_theirs: Callable[[Path], None], tmp_path: Path, call: Call
) -> None:
    provider, bare = repo_scaffolding(), tmp_path / "repos" / "app.git"
    made = provider.create(options(), call)
    (tmp_path / "repos" / "app.git.kept-1").symlink_to("nowhere")
    git(bare, "branch", "-f", "idea", "main")
    commit_theirs(bare)
    warnings: list[str] = []
    provider.delete(
        options(), provider.read(options(), made, call) or made, replace(call, warn=warnings.append)
    )
    kept = tmp_path / "repos" / "app.git.kept-2"
    assert warnings == [
        f"{bare} has commits of other authors. It is not deleted, but kept as {kept}."
    ]
    assert not bare.exists()
    assert "Ann" in git(kept, "log", "--all", "--format=%an")
    provider.delete(options(), made, call)


@pytest.mark.parametrize("pushed", [True, False])
def test_removal_continues_after_a_kill_and_keeps_pushed_commits(
    pushed: bool, tmp_path: Path, call: Call
) -> None:
    provider, bare = repo_scaffolding(), tmp_path / "repos" / "app.git"
    made = provider.create(options(), call)
    if pushed:
        commit_as_user(bare, write_file("others.txt", "not ours"))
    local = GitRepository(str(bare), call=call).local
    assert local is not None
    bare.rename(local.sibling_path("old"))
    provider.delete(options(), made, call)
    left = [path.name for path in bare.parent.iterdir()]
    assert left == (["app.git.kept-1"] if pushed else [])


def test_delete_names_a_directory_that_is_not_writable(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = repo_scaffolding()
    made = provider.create(options(), call)

    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", denied)
    with pytest.raises(ProviderError, match=r"cannot remove .*app\.git: Permission denied"):
        provider.delete(options(), made, call)


def test_plan_refuses_another_repository_url(tmp_path: Path, call: Call) -> None:
    provider = repo_scaffolding()
    made = provider.create(options(), call)
    with pytest.raises(ProviderError, match="the options name another one"):
        provider.predict(options(destination={"url": "./repos/other.git"}), made)
    for same in ("./repos/app.git", "././repos/app.git", str(tmp_path / "repos" / "app.git")):
        provider.predict(options(destination={"url": same}), made)


def test_read_uses_the_recorded_repository_and_refuses_another(tmp_path: Path, call: Call) -> None:
    provider = repo_scaffolding()
    by_name = {
        "destinationRepo": {"scmType": "local", "owner": "me", "name": "app"},
        "sourceRepo": "golang-cli",
    }
    made = provider.create(msgspec.convert(by_name, ScaffoldOptions), call)
    by_name["destinationRepo"] = {"scmType": "local", "owner": "me", "name": "renamed"}
    assert provider.read(msgspec.convert(by_name, ScaffoldOptions), made, call) == made
    by_name["destinationRepo"] = {
        "scmType": "local",
        "owner": "me",
        "name": "app",
        "baseURL": "elsewhere",
    }
    with pytest.raises(
        ProviderError, match=r"the options name another one, \./elsewhere/me/app\.git"
    ):
        provider.read(msgspec.convert(by_name, ScaffoldOptions), made, call)
    same = f"{tmp_path}/repos/me/../me/app.git"
    live = provider.read(options(destination={"url": same}, sourceRepo="golang-cli"), made, call)
    assert live is not None
    assert differences(made, live) == []


def test_visibility_is_only_for_local_repositories(tmp_path: Path, call: Call) -> None:
    with pytest.raises(
        msgspec.ValidationError, match="only be set for a repository on this machine"
    ):
        options(destination={"url": "https://git.test/me/app", "visibility": "private"})
    for visibility, mode in (("private", 0o700), ("internal", 0o750), ("public", 0o755)):
        asked = options(destination={"url": f"./{visibility}.git", "visibility": visibility})
        made = repo_scaffolding().create(asked, call)
        assert (tmp_path / f"{visibility}.git").stat().st_mode & 0o777 == mode
        assert made.attributes["visibility"] == visibility


@pytest.mark.parametrize(
    ("plugin", "given"),
    [
        (
            "repo-scaffolding",
            {
                "destinationRepo": {
                    "owner": "me",
                    "name": "app",
                    "scmType": "local",
                    "branch": "main",
                },
                "sourceRepo": {"url": "golang-gin"},
                "vars": {"imageRepo": "you/app"},
            },
        ),
        (
            "repo-scaffolding",
            {
                "destination_repo": {
                    "owner": "me",
                    "org": "",
                    "repo": "app",
                    "branch": "main",
                    "repo_type": "local",
                },
                "source_repo": {
                    "org": "devstream-io",
                    "repo": "dtm-scaffolding-golang",
                    "repo_type": "github",
                },
                "vars": {"image_repo": "you/app"},
            },
        ),
        (
            "repo-scaffolding",
            {
                "destinationRepo": {
                    "url": "./repos/me/app.git",
                    "owner": "me",
                    "repo": "app",
                    "repoType": "github",
                },
                "sourceRepo": {
                    "owner": "devstream-io",
                    "repo": "dtm-repo-scaffolding-golang-gin",
                    "repoType": "github",
                },
                "vars": {"ImageRepo": "you/app"},
            },
        ),
        (
            "github-repo-scaffolding-golang",
            {
                "owner": "me",
                "org": "",
                "repo": "app",
                "branch": "main",
                "image_repo": "you/app",
                "scmType": "local",
            },
        ),
        (
            "gitlab-repo-scaffolding-golang",
            {
                "owner": "me",
                "repo": "app",
                "branch": "main",
                "imageRepo": "you/app",
                "baseURL": "./repos",
                "scm_type": "local",
            },
        ),
    ],
)
def test_all_option_spellings_create_the_same_repository(
    plugin: str, given: dict[str, Any], tmp_path: Path, call: Call
) -> None:
    provider = installed()[plugin]
    values, faults = decode(given, provider.options, env={})
    assert not faults
    made = provider.create(build(values, provider.options), call)
    bare = tmp_path / "repos" / "me" / "app.git"
    assert shown(bare, "helm/app/values.yaml").startswith("image:\n  repository: you/app\n")
    assert made.outputs == {
        "owner": "me",
        "org": "",
        "repo": "app",
        "repoURL": "./repos/me/app.git",
        "branch": "main",
    }
    assert made.id == "repos/me/app.git"


def test_older_names_without_a_location_are_refused() -> None:
    for struct in (GithubOptions, GitlabOptions):
        with pytest.raises(
            msgspec.ValidationError, match="this version cannot create repositories"
        ):
            msgspec.convert({"owner": "me", "name": "app", "branch": "main"}, struct)


def test_missing_remote_names_the_next_step(tmp_path: Path, call: Call) -> None:
    (tmp_path / "served").mkdir()
    with serve(tmp_path / "served") as server:
        asked = options(destination={"url": server.with_password("none.git")})
        assert repo_scaffolding().read(asked, None, call) is None
        with pytest.raises(NotFoundError) as caught:
            repo_scaffolding().create(asked, call)
    assert "create an empty repository there first" in caught.value.hint
    assert "u:p" not in str(caught.value)


def test_denied_access_raises_and_is_not_absence(tmp_path: Path, call: Call) -> None:
    (tmp_path / "served").mkdir()
    with serve(tmp_path / "served") as server:
        server.private = True
        with pytest.raises(AuthError):
            repo_scaffolding().read(
                options(destination={"url": f"{server.url}/me/app.git"}), None, call
            )


def test_token_is_used_but_not_recorded(tmp_path: Path, call: Call) -> None:
    init_bare_repository(tmp_path / "served" / "app.git")
    with serve(tmp_path / "served") as server:
        server.private = True
        asked = options(destination={"url": f"{server.url}/app.git", "token": "s3cret-token"})
        made = repo_scaffolding().create(asked, call)
        assert repo_scaffolding().read(asked, made, call) == made
        repo_scaffolding().delete(asked, made, call)
        assert repo_scaffolding().read(asked, made, call) is None
    assert "s3cret" not in str(made)


def test_missing_git_is_a_missing_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    assert repo_scaffolding().missing_requirements(options()) == ()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "install git" in repo_scaffolding().missing_requirements(options())[0]
