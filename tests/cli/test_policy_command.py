"""``r4-mcp policy`` over a real vault: what is checked, explained and written, and that nothing is opened on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from r4_mcp.cli.policy import policy_allow, policy_check, policy_explain
from r4_mcp.config import Settings, read_settings
from r4_mcp.core.wire import Classification, FieldId, FieldType, ItemId
from r4_mcp.errors import (
    AmbiguousReferenceError,
    CallerError,
    ConfigurationError,
    FileAccessError,
    InvalidArgumentError,
    NotConfiguredError,
    NotFoundError,
    ReferenceSyntaxError,
)
from r4_mcp.policy.egress import Egress
from r4_mcp.policy.model import Action, PolicyClass, PolicyRule, Switches, Target, Verdict
from r4_mcp.policy.policy_file import PolicySource, read_policy
from r4_mcp.policy.rules import decide
from r4_mcp.secret import KnownSecrets
from tests.doors import World, local_environment

OFF: Final = Switches()
VAULT: Final = "a" * 24


class Operator:
    """A person who runs the commands, each on its own process's memory."""

    def __init__(self, world: World, **environment: str) -> None:
        self.world = world
        # A policy of its own: worlds come with one that suits the tests of other things.
        self.path = world.home / "own-policy.toml"
        self.environment = {**world.environment, **environment}

    def source(self, *, named: bool = False) -> PolicySource:
        """Return the policy as a new process sees it."""
        return PolicySource(self.path, named=named)

    def settings(self, known: KnownSecrets) -> Settings:
        """Read the configuration."""
        return read_settings(self.environment, known)

    def check(self) -> list[str]:
        """Run ``policy check``."""
        return policy_check(self.settings(KnownSecrets()), self.source())

    async def explain(self, reference: str) -> list[str]:
        """Run ``policy explain``; what it says passes the last look."""
        lines = await policy_explain(self.settings(self.world.known), self.world.known, self.source(), reference, local=False)
        Egress(self.world.known).check(lines)
        return lines

    async def allow(self, reference: str, decision: Verdict = Verdict.ALLOW, action: Action = Action.REVEAL) -> list[str]:
        """Run ``policy allow``; what it says passes the last look."""
        known = self.world.known
        lines = await policy_allow(
            self.settings(known), known, self.source(), reference, decision=decision, action=action, local=False, yes=True
        )
        Egress(known).check(lines)
        return lines

    def rules(self) -> tuple[PolicyRule, ...]:
        """Read back what is written."""
        return read_policy(self.path, named=True).rules

    def write(self, text: str) -> None:
        """Write the policy as with an editor."""
        self.path.write_text(text)
        self.path.chmod(0o600)

    def revealing(self, vault: str, classification: Classification | None, ids: tuple[ItemId, FieldId]) -> Verdict:
        """Return what is decided about a field."""
        target = Target(self.world.vault_id(vault), classification, FieldType.SECRET, True, *ids)
        return decide(Action.REVEAL, target, OFF, self.source().current()).verdict


@pytest.fixture
def operator(world: World) -> Operator:
    """Return the operator of a fresh world."""
    return Operator(world)


def stripe(operator: Operator) -> tuple[str, ItemId, FieldId]:
    """Let the other person create an item with one secret field; returns its reference and ids."""
    made = operator.world.add_item("Production", 'Stripe "live" \u202e', ("Key", FieldType.SECRET, "a-value-of-no-account"))
    return f"r4://Production/{made.item_id}", made.item_id, made.field_ids[0]


async def test_a_rule_is_written_by_id_with_the_class_and_the_names(operator: Operator) -> None:
    """It opens this field, and only while the vault is of this class; nothing was opened to find out."""
    reference, item_id, field_id = stripe(operator)
    ids = (item_id, field_id)
    assert operator.revealing("Production", Classification.CONFIDENTIAL, ids) is Verdict.ASK
    lines = await operator.allow(f"{reference}/Key")
    assert len(lines) == 2
    (rule,) = operator.rules()
    assert rule == PolicyRule(
        1,
        Verdict.ALLOW,
        frozenset({Action.REVEAL}),
        frozenset({PolicyClass.CONFIDENTIAL}),
        vault_id=operator.world.vault_id("Production"),
        item_id=item_id,
        field_id=field_id,
        name='Production / Stripe "live" \\u{202e} / Key',
    )
    assert operator.revealing("Production", Classification.CONFIDENTIAL, ids) is Verdict.ALLOW
    assert operator.revealing("Production", Classification.CUI, ids) is Verdict.DENY
    assert operator.revealing("Production", Classification.CONFIDENTIAL, (item_id, FieldId("0" * 24))) is Verdict.ASK
    assert not any(line.endswith("/wrapped-key") for line in operator.world.tap.lines())


async def test_a_name_and_a_reference_by_ids_come_to_the_same_rule(operator: Operator) -> None:
    """Whatever the reference looks like, ids are written; the second time nothing is."""
    await operator.allow("r4://Production/Stripe/Secret%20Key")
    (rule,) = operator.rules()
    before = operator.path.read_bytes()
    for reference in (
        f"r4://{rule.vault_id}/{rule.item_id}/{rule.field_id}",
        "STRIPE_SECRET_KEY",
        "r4://production/stripe/secret%20key",
    ):
        assert await operator.allow(reference) == ["It is so already (policy rule 1); nothing was written."]
    assert operator.path.read_bytes() == before


async def test_what_is_open_by_default_needs_no_rule(operator: Operator) -> None:
    """An allow that says nothing new would stay when the default changes."""
    lines = await operator.allow("r4://Engineering/Sentry/Auth%20Token")
    assert lines == ["It is so already (default: INTERNAL); nothing was written."]
    assert not operator.path.exists()


WRITTEN: Final[dict[str, tuple[str, Verdict, Action, int, set[PolicyClass]]]] = {
    "a vault is allowed": ("r4://Production", Verdict.ALLOW, Action.REVEAL, 1, {PolicyClass.CONFIDENTIAL}),
    "an item is allowed": ("r4://Production/Stripe", Verdict.ALLOW, Action.REVEAL, 2, {PolicyClass.CONFIDENTIAL}),
    "a field is denied": ("r4://Engineering/Sentry/Auth%20Token", Verdict.DENY, Action.REVEAL, 3, set()),
    "a field is asked about": ("r4://Engineering/Sentry/Auth%20Token", Verdict.ASK, Action.REVEAL, 3, set()),
    "an item is not changed": ("r4://Engineering/Sentry", Verdict.DENY, Action.UPDATE, 2, set()),
    "an item is not archived": ("r4://Engineering/Sentry", Verdict.DENY, Action.ARCHIVE, 2, set()),
    "creating in a vault is asked about": ("r4://Personal%20Sandbox", Verdict.ASK, Action.CREATE, 1, set()),
}


@pytest.mark.parametrize("what", WRITTEN)
async def test_what_is_written(operator: Operator, what: str) -> None:
    """The action, the verdict, as many ids as the reference has parts, and the class where something opens."""
    reference, verdict, action, depth, classes = WRITTEN[what]
    await operator.allow(reference, verdict, action)
    (rule,) = operator.rules()
    assert (rule.verdict, rule.actions, rule.classes) == (verdict, frozenset({action}), frozenset(classes))
    assert [part is not None for part in (rule.vault_id, rule.item_id, rule.field_id)] == [n < depth for n in range(3)]


async def test_an_ask_that_opens_names_the_class_too(operator: Operator) -> None:
    """Where the operator's default denies, asking is opening."""
    operator.write('[defaults.reveal]\nCONFIDENTIAL = "deny"\n')
    await operator.allow("r4://Production/Stripe/Secret%20Key", Verdict.ASK)
    (rule,) = operator.rules()
    assert rule.classes == {PolicyClass.CONFIDENTIAL}
    assert rule.vault_id is not None
    assert rule.item_id is not None
    assert rule.field_id is not None
    assert operator.revealing("Production", Classification.CONFIDENTIAL, (rule.item_id, rule.field_id)) is Verdict.ASK


async def test_a_rule_without_effect_is_not_written(operator: Operator) -> None:
    """The stricter rule is named; the file stays as it is, byte for byte."""
    operator.write('# ours\n[[rule]]\naction = "create"\ndecision = "deny"\n\n[[rule]]\naction = "reveal"\ndecision = "ask"\n')
    before = operator.path.read_bytes()
    with pytest.raises(ConfigurationError, match="policy rule 2 says ask to the same") as raised:
        await operator.allow("r4://Production/Stripe/Secret%20Key")
    assert raised.value.next_step is not None
    assert "Change rule 2" in raised.value.next_step
    assert operator.path.read_bytes() == before
    await operator.allow("r4://Production/Stripe/Secret%20Key", Verdict.DENY)
    assert [rule.verdict for rule in operator.rules()] == [Verdict.DENY, Verdict.ASK, Verdict.DENY]


async def test_what_stays_shut_within_is_said(operator: Operator) -> None:
    """A vault is allowed although one of its fields is denied: written, and said."""
    await operator.allow("r4://Production/Stripe/Secret%20Key", Verdict.DENY)
    lines = await operator.allow("r4://Production")
    assert lines[-1] == "All the same, for all of it or for a part: revealing this value is denied (policy rule 1)"
    assert [rule.verdict for rule in operator.rules()] == [Verdict.DENY, Verdict.ALLOW]


NOT_WRITTEN: Final[dict[str, tuple[str, Action, type[CallerError], str]]] = {
    "a field is created": (
        "r4://Production/Stripe/Secret%20Key",
        Action.CREATE,
        InvalidArgumentError,
        "create can't name one field",
    ),
    "a field is changed": (
        "r4://Production/Stripe/Secret%20Key",
        Action.UPDATE,
        InvalidArgumentError,
        "update can't name one field",
    ),
    "a field is archived": (
        "r4://Production/Stripe/Secret%20Key",
        Action.ARCHIVE,
        InvalidArgumentError,
        "archive can't name one field",
    ),
    "an item is created": ("r4://Production/Stripe", Action.CREATE, InvalidArgumentError, "create can't name one item"),
    "one vault is listed": ("r4://Production", Action.LIST, InvalidArgumentError, "list is aimed at nothing"),
    "the key is rotated": ("r4://Production", Action.ROTATE, InvalidArgumentError, "rotate is aimed at nothing"),
    "nothing of that name": ("r4://Production/Strip/Secret%20Key", Action.REVEAL, NotFoundError, "no item of that name"),
    "no vault of that name": ("r4://Prod", Action.REVEAL, NotFoundError, "no vault of that name"),
    "a bare name": ("Production", Action.REVEAL, ReferenceSyntaxError, "starts with r4://"),
}


@pytest.mark.parametrize("what", NOT_WRITTEN)
async def test_what_can_not_be_written_is_refused(operator: Operator, what: str) -> None:
    """Nothing is made, not even a file."""
    reference, action, error, told = NOT_WRITTEN[what]
    with pytest.raises(error, match=told):
        await operator.allow(reference, Verdict.DENY, action)
    assert not operator.path.exists()


async def test_an_ambiguous_name_is_never_chosen_from(operator: Operator) -> None:
    """The operator takes a candidate by id."""
    operator.world.add_item("Production", "stripe", ("Secret Key", FieldType.SECRET, "another-value-of-no-account"))
    operator.world.add_item("Production", "STRIPE", ("Secret Key", FieldType.SECRET, "a-third-value-of-no-account"))
    with pytest.raises(AmbiguousReferenceError) as raised:
        await operator.allow("r4://Production/sTripe/Secret%20Key")
    assert not operator.path.exists()
    await operator.allow(raised.value.candidates[0])
    assert len(operator.rules()) == 1


@pytest.mark.parametrize("text", ["", "not = = TOML", '[[rule]]\naction = "reveal"\ndecision = "deny"\nvault = "Production"\n'])
async def test_a_closed_policy_is_not_opened_by_writing_a_rule(operator: Operator, text: str) -> None:
    """The operator mends it first; check and explain say what is wrong."""
    operator.write(text)
    with pytest.raises(ConfigurationError, match="is no policy"):
        await operator.allow("r4://Production/Stripe/Secret%20Key")
    assert operator.path.read_text() == text
    with pytest.raises(ConfigurationError, match="is no policy"):
        operator.check()
    lines = (await operator.explain("r4://Production"))[2:]
    assert lines
    assert all(line.startswith("  deny ") and "is no policy" in line for line in lines)


async def test_what_decides_is_explained_for_a_field(operator: Operator) -> None:
    """Each action, its verdict, and the rule with what it names."""
    operator.write(
        '[defaults]\nreport = "deny"\n\n'
        '[[rule]]\naction = "reveal"\ndecision = "deny"\nfield_type = "TOTP"\n\n'
        '[[rule]]\naction = "archive"\ndecision = "ask"\nclassification = "INTERNAL"\n'
    )
    lines = await operator.explain("r4://Engineering/GitHub/One-Time%20Code")
    assert lines[0].endswith("Engineering / GitHub / One-Time Code")
    assert lines[0].startswith(f"r4://{operator.world.vault_id('Engineering')}/")
    assert lines[1:] == [
        "class INTERNAL, from verified metadata",
        "  deny   reveal     policy rule 1 (type TOTP)",
        "  allow  use        default: INTERNAL",
        "  allow  create     an item in this vault: default: create",
        "  allow  update     this item: default: update",
        "  ask    archive    this item: policy rule 2 (class INTERNAL)",
        "  allow  list       default: list",
        "  allow  raw_read   default: raw_read",
        "  ask    raw_write  default: raw_write",
        "  deny   report     default: report",
        "  ask    rotate     default: rotate",
    ]
    assert not any(line.endswith("/wrapped-key") for line in operator.world.tap.lines())


async def test_an_item_is_explained_field_by_field(operator: Operator) -> None:
    """Each field has its own decision."""
    operator.write('[[rule]]\naction = "reveal"\ndecision = "deny"\nfield_type = ["TOTP", "PASSWORD"]\n')
    lines = [line for line in await operator.explain("r4://Engineering/GitHub") if "  reveal " in line]
    assert lines == [
        "  allow  reveal     Username: default: INTERNAL",
        "  deny   reveal     Password: policy rule 1 (type PASSWORD or TOTP)",
        "  deny   reveal     One-Time Code: policy rule 1 (type PASSWORD or TOTP)",
        "  allow  reveal     Login URL: default: INTERNAL",
    ]


async def test_a_vault_is_explained_at_its_strictest(operator: Operator) -> None:
    """What it holds is not looked through, so whatever may be denied counts."""
    operator.write('[[rule]]\naction = "reveal"\ndecision = "deny"\nfield_type = "TOTP"\n')
    lines = await operator.explain("r4://Engineering")
    assert lines[2] == "  deny   reveal     what it holds, at the strictest: policy rule 1 (type TOTP)"
    assert lines[3] == "  allow  use        what it holds, at the strictest: default: INTERNAL"
    assert lines[5:7] == [
        "  allow  update     an item of this vault, at the strictest: default: update",
        "  allow  archive    this vault: default: archive",
    ]


async def test_switches_are_explained_first(world: World) -> None:
    """They win over the rules, and check says so as well."""
    operator = Operator(world, R4_NO_REVEAL="1", R4_READ_ONLY="1")
    lines = await operator.explain("r4://Public%20Site/CDN/Purge%20Token")
    assert [line[:7].strip() for line in lines[2:]] == [
        *("deny", "allow", "deny", "deny", "deny"),
        *("allow", "allow", "deny", "allow", "deny"),
    ]
    assert sum("R4_NO_REVEAL" in line for line in lines) == 1
    assert sum("R4_READ_ONLY" in line for line in lines) == 5
    assert [line.split()[0] for line in operator.check()[1:3]] == ["R4_READ_ONLY", "R4_NO_REVEAL"]


def test_check_without_a_file_prints_the_defaults(operator: Operator) -> None:
    """Each class and each action with its verdict, and the budget."""
    assert operator.check() == [
        f"policy: {operator.path} (not there, so the defaults hold)",
        "rules: none",
        "defaults, where no rule matches:",
        "     allow  reveal     class PUBLIC",
        "     allow  reveal     class INTERNAL",
        "     allow  reveal     class UNCLASSIFIED",
        "     ask    reveal     class CONFIDENTIAL",
        "     deny   reveal     class CUI",
        "     ask    reveal     class UNVERIFIED",
        "     allow  use        class PUBLIC",
        "     allow  use        class INTERNAL",
        "     allow  use        class UNCLASSIFIED",
        "     ask    use        class CONFIDENTIAL",
        "     deny   use        class CUI",
        "     deny   use        class UNVERIFIED",
        "     allow  list",
        "     allow  create",
        "     allow  update",
        "     allow  archive",
        "     ask    rotate",
        "     allow  report",
        "     allow  raw_read",
        "     ask    raw_write",
        "raw requests: none, so machine_request is hidden",
        "reveal budget: 20 fields a connection, 60 an hour",
    ]


def test_check_prints_the_rules_as_they_are_understood(operator: Operator) -> None:
    """Numbered as the audit log names them; a name can't draw on the terminal."""
    operator.write(
        '[[rule]]\naction = ["archive", "create"]\ndecision = "ask"\n\n'
        '[[rule]]\naction = "reveal"\ndecision = "allow"\nclassification = ["CUI", "PUBLIC"]\nfield_type = "URL"\n'
        f'vault = "{VAULT}"\nname = "a\\u001b[2J"\n\n[defaults.reveal]\nINTERNAL = "deny"\n\n[budget]\nper_hour = 5\n'
    )
    lines = operator.check()
    assert lines[:4] == [
        f"policy: {operator.path}",
        "rules, of which the strictest that matches decides:",
        "  1  ask    archive, create  anything",
        f"  2  allow  reveal     class CUI or PUBLIC, type URL, r4://{VAULT}, a\\u{{1b}}[2J",
    ]
    assert "     deny   reveal     class INTERNAL" in lines
    assert lines[-1] == "reveal budget: 20 fields a connection, 5 an hour"


def test_check_misses_a_file_that_was_named(operator: Operator) -> None:
    """The operator meant one that is somewhere else."""
    with pytest.raises(FileAccessError, match="does not exist"):
        policy_check(operator.settings(KnownSecrets()), operator.source(named=True))


async def test_nothing_configured_is_said(tmp_path: Path) -> None:
    """Without a vault there is nobody to ask for ids."""
    known = KnownSecrets()
    settings = read_settings({"R4_HOME": str(tmp_path)}, known)
    with pytest.raises(NotConfiguredError):
        await policy_explain(settings, known, PolicySource(tmp_path / "policy.toml", named=False), "r4://Production", local=False)


async def test_the_embedded_vault_has_its_ids_too(world: World) -> None:
    """With ``local`` the names are those of the embedded vault."""
    environment = local_environment(world)
    known = KnownSecrets()
    source = PolicySource(world.home / "own-policy.toml", named=False)
    with pytest.raises(NotFoundError):
        await policy_allow(read_settings(environment, known, local=True), known, source, "r4://Production", local=True, yes=True)
    assert not source.path.exists()
