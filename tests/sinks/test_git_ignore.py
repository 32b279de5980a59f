"""What git thinks of a path decides whether a secret may stand there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from r4_mcp.errors import SecretFileRefusedError
from r4_mcp.sinks import git_ignore
from r4_mcp.sinks.file import write_secret_file

from .values import ENTRY, files


def git(folder: Path, *arguments: str) -> None:
    """Run git as a person would."""
    found = shutil.which("git")
    assert found is not None
    subprocess.run([found, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(root: Path) -> Path:
    """Make the root a repository that ignores ``.env`` files."""
    git(root, "init", "--quiet")
    (root / ".gitignore").write_text(".env*\n!.env.example\n/kept/\n")
    return root


def test_an_ignored_path_in_a_repository_is_written(repository: Path) -> None:
    """At the top, deeper, and in an ignored folder."""
    (repository / "kept").mkdir()
    for path in (".env", "deep/.env.local", "kept/anything"):
        write_secret_file(repository, path, "env", ENTRY)
    assert files(repository) == [".env", "deep/.env.local", "kept/anything"]


@pytest.mark.parametrize("path", ["secrets.txt", "deep/secrets.txt", ".env.example", ":(top).env", ":!x", "*", "-q", "--"])
def test_a_path_that_git_would_pick_up_is_refused(repository: Path, path: str) -> None:
    """Also one that looks like an option, a pattern or git's own magic."""
    with pytest.raises(SecretFileRefusedError, match="does not ignore"):
        write_secret_file(repository, path, "env", ENTRY)
    assert files(repository) == []


def test_a_tracked_path_is_refused_though_it_is_ignored(repository: Path) -> None:
    """Ignoring does not untrack; a removed file is tracked still."""
    (repository / "deep" / ".env").write_text("old")
    git(repository, "add", "--force", "deep/.env")
    with pytest.raises(SecretFileRefusedError, match="tracks"):
        write_secret_file(repository, "deep/.env", "env", ENTRY, replaces=True)
    (repository / "deep" / ".env").unlink()
    with pytest.raises(SecretFileRefusedError, match="tracks"):
        write_secret_file(repository, "deep/.env", "env", ENTRY)


@pytest.mark.parametrize("path", [".git/hooks/post-commit", ".git/config", "deep/.GIT/x", ".git"])
def test_a_repository_s_own_folder_is_refused(repository: Path, path: str) -> None:
    """Files there are programs and settings."""
    with pytest.raises(SecretFileRefusedError):
        write_secret_file(repository, path, "env", ENTRY, replaces=True)


def test_a_root_inside_a_repository_s_own_folder_is_refused(repository: Path) -> None:
    """Nothing there is ever ignored, or tracked."""
    with pytest.raises(SecretFileRefusedError):
        write_secret_file(repository / ".git" / "hooks", ".env", "env", ENTRY)


def test_a_repository_above_the_root_counts(repository: Path) -> None:
    """And a work tree, whose ``.git`` is a file."""
    with pytest.raises(SecretFileRefusedError):
        write_secret_file(repository / "deep", "secrets.txt", "env", ENTRY)
    write_secret_file(repository / "deep", ".env", "env", ENTRY)
    (repository / "kept").mkdir()
    (repository / "kept" / ".git").write_text("gitdir: ../.git\n")
    with pytest.raises(SecretFileRefusedError):
        write_secret_file(repository / "kept", "anything", "env", ENTRY)


def test_without_the_program_a_repository_is_refused(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could say what is ignored; beside the repository, nobody needs to."""
    monkeypatch.setattr(git_ignore, "PROGRAM_FOLDERS", str(tmp_path))
    with pytest.raises(SecretFileRefusedError, match="no git program"):
        write_secret_file(repository, ".env", "env", ENTRY)
    write_secret_file(tmp_path, ".env", "env", ENTRY)


def test_a_damaged_repository_is_refused(root: Path) -> None:
    """Also one that is only a name: whatever it is, git does not answer."""
    (root / ".git").mkdir()
    with pytest.raises(SecretFileRefusedError, match="damaged"):
        write_secret_file(root, ".env", "env", ENTRY)


def test_a_git_that_does_not_answer_in_time_is_no_answer(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written on a guess."""
    (tmp_path / "git").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "git").chmod(0o700)
    monkeypatch.setattr(git_ignore, "PROGRAM_FOLDERS", str(tmp_path))
    monkeypatch.setattr(git_ignore, "GIT_SECONDS", 0.1)
    with pytest.raises(SecretFileRefusedError, match="did not say"):
        write_secret_file(repository, ".env", "env", ENTRY)
    assert files(repository) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user_is_refused(repository: Path) -> None:
    """Its settings are theirs, and could run programs as us."""
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 12_345, 12_345)
    with pytest.raises(SecretFileRefusedError, match="another user's"):
        write_secret_file(repository, ".env", "env", ENTRY)


def test_a_repository_s_settings_start_no_program(repository: Path, tmp_path: Path) -> None:
    """A hostile project, opened by a trusting agent."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    hook.chmod(0o700)
    for setting in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass"):
        git(repository, "config", setting, str(hook))
    git(repository, "config", "alias.check-ignore", f"!{hook}")
    write_secret_file(repository, ".env", "env", ENTRY)
    assert not (tmp_path / "ran").exists()


def test_this_user_s_own_settings_do_not_count(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others clone the repository without this user's list; and the environment does not point git elsewhere."""
    (tmp_path / "ignore").write_text("*\n")
    (tmp_path / ".gitconfig").write_text(f"[core]\nexcludesFile = {tmp_path / 'ignore'}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.excludesFile")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(tmp_path / "ignore"))
    with pytest.raises(SecretFileRefusedError, match="does not ignore"):
        write_secret_file(repository, "secrets.txt", "env", ENTRY)
    write_secret_file(repository, ".env", "env", ENTRY)
