"""The policy file: whose it must be, that what can't be used denies everything, that a change bites at once, and appending."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4_mcp.core.wire import FieldId, ItemId, VaultId
from r4_mcp.errors import ConfigurationError, FileAccessError
from r4_mcp.policy.budget import MAX_PER_HOUR, PER_CONNECTION, PER_HOUR, RevealBudget
from r4_mcp.policy.model import DEFAULTS, MAX_BUDGET, Action, Budget, Policy, PolicyClass, PolicyRule, Switches, Target, Verdict
from r4_mcp.policy.policy_file import MAX_SIZE, PolicySource, append_rule, load_policy, read_policy
from r4_mcp.policy.policy_text import parse_policy
from r4_mcp.policy.rules import decide
from r4_mcp.policy.views import display

VAULT, ITEM, FIELD = VaultId("a" * 24), ItemId("b" * 24), FieldId("c" * 24)

VALID: Final = f"""\
# A whole policy.
[defaults]
create = "ask"  # and nothing else

[[rule]]  # one
action = ["reveal", "archive"]
decision = "deny"
vault = "{VAULT}"
"""
ONE_RULE: Final = '[[rule]]\naction = "reveal"\ndecision = "deny"\n'
RULE: Final = PolicyRule(
    1,
    Verdict.ALLOW,
    frozenset({Action.REVEAL}),
    frozenset({PolicyClass.CONFIDENTIAL}),
    vault_id=VAULT,
    item_id=ITEM,
    field_id=FIELD,
    name='A "name" \\ with ] signs',
)


def written(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    """Write a policy file with exactly this mode."""
    path = folder / "policy.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def denies_everything(policy: Policy) -> bool:
    """Say whether every action is denied, because the policy is closed."""
    decisions = [decide(action, Target(VAULT), Switches(), policy) for action in Action]
    return all((decision.verdict, decision.rule) == (Verdict.DENY, "policy closed") for decision in decisions)


@pytest.mark.parametrize("text", ["", "# to be written\n", "no TOML", "[sinks]\n", b"\xff", ONE_RULE + "decision = 1"])
def test_what_is_not_understood_denies_everything(text: str | bytes, tmp_path: Path) -> None:
    """Reading says what is wrong, and where; loading closes the policy for that reason."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as raised:
        read_policy(path, named=False)
    assert raised.value.message.startswith(f"{path} is no policy: ")
    closed = load_policy(path, named=False)
    assert closed.closed == raised.value.message
    assert denies_everything(closed)


def test_absent_means_the_defaults_unless_it_was_named(tmp_path: Path) -> None:
    """A missing folder is the same as a missing file."""
    for path in (tmp_path / "policy.toml", tmp_path / "nowhere" / "policy.toml"):
        assert load_policy(path, named=False) == DEFAULTS
        assert read_policy(path, named=False) == DEFAULTS
        closed = load_policy(path, named=True)
        assert closed.closed == f"{path} does not exist"
        assert denies_everything(closed)


def linked(path: Path) -> None:
    """Put a symbolic link in the file's place."""
    path.rename(path.with_name("real.toml"))
    path.symlink_to("real.toml")


def dangling(path: Path) -> None:
    """Put a symbolic link to nothing in the file's place."""
    path.unlink()
    path.symlink_to("nowhere.toml")


def made_a_folder(path: Path) -> None:
    """Put a folder in the file's place."""
    path.unlink()
    path.mkdir()


def made_a_pipe(path: Path) -> None:
    """Put a named pipe in the file's place."""
    path.unlink()
    os.mkfifo(path, 0o600)


def enlarged(path: Path) -> None:
    """Make the file larger than any policy."""
    path.write_bytes(ONE_RULE.encode() + b"#\n" * (MAX_SIZE // 2))


UNUSABLE: Final[dict[str, tuple[Callable[[Path], object], str, str | None]]] = {
    "the group can write it": (lambda path: path.chmod(0o620), "can be written by other users", "Run: chmod go-w "),
    "others can write it": (lambda path: path.chmod(0o602), "can be written by other users", "Run: chmod go-w "),
    "the group can write its folder": (
        lambda path: path.parent.chmod(0o770),
        "can be written by other users",
        "Run: chmod go-w ",
    ),
    "others can write its folder": (lambda path: path.parent.chmod(0o1777), "can be written by other users", "Run: chmod go-w "),
    "it is a link": (linked, "is a symbolic link", "Give the real path."),
    "it is a link to nothing": (dangling, "is a symbolic link", "Give the real path."),
    "it is a folder": (made_a_folder, "is not a regular file", None),
    "it is a pipe": (made_a_pipe, "is not a regular file", None),
    "it is huge": (enlarged, f"is larger than {MAX_SIZE} bytes", None),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_file_that_can_not_be_trusted_denies_everything(what: str, tmp_path: Path) -> None:
    """A valid policy in such a place is not even read; and nothing is appended to it."""
    spoil, told, step = UNUSABLE[what]
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    path = written(folder, ONE_RULE)
    spoil(path)
    with pytest.raises(FileAccessError, match=told) as raised:
        read_policy(path, named=False)
    assert step is None or (raised.value.next_step or "").startswith(step)
    assert denies_everything(load_policy(path, named=False))
    before = sorted(part.name for part in folder.iterdir())
    with pytest.raises(FileAccessError, match=told):
        append_rule(path, RULE)
    assert sorted(part.name for part in folder.iterdir() if not part.name.endswith(".lock")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_file_of_another_user_denies_everything(place: str, tmp_path: Path) -> None:
    """Of neither this user nor root."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    path = written(folder, ONE_RULE)
    os.chown(path if place == "file" else folder, 65_534, 65_534)
    with pytest.raises(FileAccessError, match="belongs to another user"):
        read_policy(path, named=False)
    assert denies_everything(load_policy(path, named=False))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_of_root_is_obeyed_and_not_replaced() -> None:
    """In a folder of the user, who could replace it, but should not do so in passing."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        path = written(folder, ONE_RULE, 0o644)
        os.chown(folder, 65_534, 65_534)
        os.seteuid(65_534)
        try:
            assert len(read_policy(path, named=True).rules) == 1
            with pytest.raises(FileAccessError, match="belongs to another user"):
                append_rule(path, RULE)
        finally:
            os.seteuid(0)
        assert path.read_text() == ONE_RULE


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o444])
def test_others_may_read_it(mode: int, tmp_path: Path) -> None:
    """It holds no secret, and root may write it for everybody."""
    assert read_policy(written(tmp_path, ONE_RULE, mode), named=True).closed is None


OPEN_TARGET: Final = Target(VAULT)


def revealing(source: PolicySource) -> Verdict:
    """Return what is decided now about a value that the defaults reveal."""
    return decide(Action.REVEAL, OPEN_TARGET, Switches(), source.current()).verdict


def test_a_change_bites_at_once(tmp_path: Path) -> None:
    """A file that appears, changes, is damaged, is mended: each time the next decision is another one."""
    path = tmp_path / "policy.toml"
    source = PolicySource(path, named=False)
    assert revealing(source) is Verdict.ALLOW
    for text, verdict in (
        (ONE_RULE, Verdict.DENY),
        (ONE_RULE.replace("deny", "ask"), Verdict.ASK),
        ("", Verdict.DENY),
        ("[budget]\n", Verdict.ALLOW),
    ):
        written(tmp_path, text)
        assert revealing(source) is verdict


def test_a_change_that_no_stamp_shows_bites_at_once(tmp_path: Path) -> None:
    """The same file, size and time of change: only its bytes tell."""
    ask, deny = ('[[rule]]\naction = "reveal"\ndecision = ' + word + "\n" for word in ('"ask" ', '"deny"'))
    path = written(tmp_path, ask)
    before = path.stat()
    source = PolicySource(path, named=False)
    assert revealing(source) is Verdict.ASK
    with path.open("r+") as file:
        file.write(deny)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert revealing(source) is Verdict.DENY


def test_what_did_not_change_is_not_parsed_again(tmp_path: Path) -> None:
    """The very same policy comes out, though the file was written again; a closed one too."""
    for text in (VALID, "no TOML"):
        source = PolicySource(written(tmp_path, text), named=False)
        first = source.current()
        written(tmp_path, text)
        assert source.current() is first


def test_a_policy_that_vanishes_closes(tmp_path: Path) -> None:
    """An editor that saves may remove it for a moment; that moment opens nothing. A new process begins with the defaults."""
    path = written(tmp_path, ONE_RULE.replace("deny", "ask"))
    source = PolicySource(path, named=False)
    assert revealing(source) is Verdict.ASK
    path.rename(tmp_path / "backup")
    assert denies_everything(source.current())
    assert "vanished" in (source.current().closed or "")
    (tmp_path / "backup").rename(path)
    assert revealing(source) is Verdict.ASK
    path.unlink()
    assert load_policy(path, named=False) == DEFAULTS


def test_a_mode_that_changes_bites_at_once(tmp_path: Path) -> None:
    """While others can write it, nothing of it counts."""
    path = written(tmp_path, "[budget]\n")
    source = PolicySource(path, named=False)
    assert revealing(source) is Verdict.ALLOW
    path.chmod(0o666)
    assert denies_everything(source.current())
    path.chmod(0o600)
    assert revealing(source) is Verdict.ALLOW


BEFORE: Final = {
    "nothing": None,
    "a whole policy": VALID,
    "no line break at its end": VALID.rstrip("\n") + "  # why",
    "line breaks of another system": VALID.replace("\n", "\r\n"),
    "an open table at its end": "[defaults]\n# nothing yet",
}


@pytest.mark.parametrize("what", BEFORE)
def test_appending_keeps_what_is_there(what: str, tmp_path: Path) -> None:
    """Every byte of it, comments included; the file is private then, and nothing but its lock is left beside it."""
    path = tmp_path / "policy.toml"
    before = BEFORE[what]
    old = DEFAULTS
    if before is not None:
        old = read_policy(written(tmp_path, before.encode(), 0o644), named=True)
    new = append_rule(path, RULE)
    assert new == replace(old, rules=(*old.rules, replace(RULE, number=len(old.rules) + 1)))
    assert read_policy(path, named=True) == new
    assert path.read_bytes().startswith((before or "# ").encode())
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(part.name for part in tmp_path.iterdir()) == ["policy.toml", "policy.toml.lock"]


NOT_APPENDED: Final = {
    "it is empty": ("", "empty"),
    "it is not understood": (ONE_RULE + "verdict = 1\n", "unknown key verdict"),
    "it holds its rules as a list": ('rule = [{ action = "reveal", decision = "deny" }]\n', "there twice"),
}


@pytest.mark.parametrize("what", NOT_APPENDED)
def test_appending_never_opens_a_closed_policy(what: str, tmp_path: Path) -> None:
    """Where the whole would not be understood, or was not before, not a byte changes."""
    text, told = NOT_APPENDED[what]
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=told):
        append_rule(path, RULE)
    assert path.read_text() == text


def test_a_rule_that_the_checker_refuses_is_not_appended(tmp_path: Path) -> None:
    """The writer has no rights that the reader has not."""
    path = written(tmp_path, VALID)
    with pytest.raises(ConfigurationError, match="rule 2: decision is allow, but no classification"):
        append_rule(path, replace(RULE, classes=frozenset()))
    assert path.read_text() == VALID


def test_a_policy_of_the_largest_size_is_read_and_left_alone(tmp_path: Path) -> None:
    """The limit of reading is the limit of writing."""
    text = (ONE_RULE + "#\n" * MAX_SIZE)[: MAX_SIZE - 1] + "\n"
    path = written(tmp_path, text)
    assert path.stat().st_size == MAX_SIZE
    assert len(read_policy(path, named=True).rules) == 1
    with pytest.raises(FileAccessError, match="nothing was written"):
        append_rule(path, RULE)
    assert path.read_text() == text


@given(name=st.text(max_size=300))
def test_any_name_is_written_so_that_it_reads_back(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Names come from a vault: quotes, backslashes, line breaks and invisible signs end nothing."""
    path = tmp_path_factory.mktemp("names") / "policy.toml"
    rules = append_rule(path, replace(RULE, name=name)).rules
    assert [replace(rule, name="") for rule in rules] == [replace(RULE, name="")]
    assert read_policy(path, named=True).rules == rules
    assert rules[0].name == display(name)


def test_rules_of_several_writers_are_all_kept(tmp_path: Path) -> None:
    """Each under the lock."""
    path = tmp_path / "policy.toml"
    vaults = [VaultId(f"{number:024x}") for number in range(8)]
    rules = [replace(RULE, vault_id=vault) for vault in vaults]
    writers = [threading.Thread(target=append_rule, args=(path, rule)) for rule in rules]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    kept = read_policy(path, named=True).rules
    assert sorted(rule.vault_id or "" for rule in kept) == vaults
    assert [rule.number for rule in kept] == list(range(1, 9))


@pytest.mark.parametrize("budget", [Budget(), Budget(0, 0), Budget(MAX_BUDGET, MAX_BUDGET)])
def test_the_budget_takes_what_the_checker_lets_pass(budget: Budget, tmp_path: Path) -> None:
    """The two agree on the range, and on the defaults."""
    text = f"[budget]\nper_connection = {budget.per_connection}\nper_hour = {budget.per_hour}\n"
    assert parse_policy(text.encode()).budget == budget
    made = RevealBudget(tmp_path, ("o", "k"), time.time, per_connection=budget.per_connection, per_hour=budget.per_hour)
    assert made.spend().within is (budget.per_hour > 0)
    assert (Budget().per_connection, Budget().per_hour, MAX_BUDGET) == (PER_CONNECTION, PER_HOUR, MAX_PER_HOUR)
