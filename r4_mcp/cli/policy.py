"""``r4-mcp policy``: what the policy file comes to, which rule decides for a reference, and a rule written by id.

What this file does not do: open a value. No tool reaches it: here the operator, not the model, changes what is allowed.

Rules:
1. Names are resolved through the verified vault only, and written as ids.
2. A rule that opens something names the class that the vault has now: it does not follow the vault into another one.
3. What would change nothing is not written, and the rule that stands against it is named.
4. A rule is written only after a person's yes at a terminal, or with ``--yes``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from r4_mcp.cli.prompts import at_terminal, require_yes
from r4_mcp.cli.wiring import open_local, open_service, same_vault
from r4_mcp.config import Settings
from r4_mcp.core.wire import DetailCheckpoint, SignedField, SummaryCheckpoint
from r4_mcp.errors import ApprovalRequiredError, ConfigurationError, DeniedError, InvalidArgumentError
from r4_mcp.policy.file_text import root_line
from r4_mcp.policy.model import UNAIMED, Action, Policy, PolicyClass, PolicyRule, Switches, Target, Verdict
from r4_mcp.policy.policy_file import PolicySource, append_rule, read_policy
from r4_mcp.policy.policy_text import AIMED
from r4_mcp.policy.raw import action_of, pattern_of
from r4_mcp.policy.raw_request import Method, parse_request
from r4_mcp.policy.rules import Decision, decide
from r4_mcp.policy.views import display
from r4_mcp.secret import KnownSecrets
from r4_mcp.vault.locator import Locator
from r4_mcp.vault.references import ScreamingKey, parse_field_reference, write_reference

_LEVELS: Final = ("vault", "item", "field")
_WIDTH: Final = max(map(len, Action))
"""Columns of an action."""


@dataclass(frozen=True, slots=True)
class _Aim:
    """What a reference names, from verified metadata.

    Attributes:
        target: For the rules.
        name: The names along the way, for people.
        fields: The fields of an item; else empty.
    """

    target: Target
    name: str
    fields: tuple[SignedField, ...] = ()


def policy_check(settings: Settings, source: PolicySource) -> list[str]:
    """Check the policy file and say what it comes to.

    Args:
        settings: The configuration, for the switches.
        source: The policy file.

    Returns:
        Lines for a person.

    Raises:
        ConfigurationError: The file can't be used, so everything is denied.
    """
    policy = read_policy(source.path, named=source.named)
    there = "" if source.path.exists() else " (not there, so the defaults hold)"
    return [f"policy: {source.path}{there}", *_switched(settings.switches), *_table(policy)]


async def policy_explain(
    settings: Settings, known: KnownSecrets, source: PolicySource, reference: str, *, local: bool
) -> list[str]:
    """Say which rule decides for a reference, action by action.

    Args:
        settings: The configuration.
        known: The secrets of this process.
        source: The policy file.
        reference: Of a vault, an item or a field; or a raw request, such as ``GET /webhook``, about which nobody is asked.
        local: Whether the embedded vault is meant.

    Returns:
        Lines for a person.

    Raises:
        R4Error: Bad reference, not found, ambiguous, not verified, nothing configured, refused, unreachable.
    """
    method, _, path = reference.partition(" ")
    if method in tuple(Method):
        return _explain_request(Method(method), path, settings.switches, source.current())
    aim = await _look_up(settings, known, reference, local=local)
    policy = source.current()
    lines = [f"{write_reference(*aim.target.ids)}  {aim.name}", f"class {aim.target.policy_class.value}, from verified metadata"]
    for action, target, what in _questions(aim):
        decision = decide(action, target, settings.switches, policy)
        lines.append(f"  {decision.verdict.value:<5}  {action.value:<{_WIDTH}}  {what}{_why(decision, policy)}")
    return lines


def _explain_request(method: Method, path: str, switches: Switches, policy: Policy) -> list[str]:
    request, action = parse_request(method, path), action_of(method)
    decision = decide(action, Target(), switches, policy)
    verdict = decision.verdict
    try:
        why = f"listed as {pattern_of(request, policy)}: {_why(decision, policy)}"
    except DeniedError as error:
        # A closed policy lists nothing, and why it is closed is the nearer reason.
        verdict, why = Verdict.DENY, decision.reason if policy.closed is not None else error.message
    return [f"{method.value} {request.path}", f"  {verdict.value:<5}  {action.value:<{_WIDTH}}  {why}"]


async def policy_allow(  # noqa: PLR0913 - one place calls it, by keyword
    settings: Settings,
    known: KnownSecrets,
    source: PolicySource,
    reference: str,
    *,
    decision: Verdict = Verdict.ALLOW,
    action: Action = Action.REVEAL,
    local: bool,
    yes: bool,
) -> list[str]:
    """Write a rule about what a reference names.

    Args:
        settings: The configuration.
        known: The secrets of this process.
        source: The policy file; made where it is absent.
        reference: Of a vault, an item or a field.
        decision: What may happen.
        action: What it is about.
        local: Whether the embedded vault is meant.
        yes: Don't ask (rule 4).

    Returns:
        Lines for a person.

    Raises:
        InvalidArgumentError: Rules about the action can't name such a thing.
        ApprovalRequiredError: There is nobody to ask.
        DeniedError: The answer was no. Nothing was written.
        ConfigurationError: The file can't be used or written, or another rule is stricter (rule 3). Nothing was written.
        R4Error: As ``policy_explain``.
    """
    if action in UNAIMED:
        raise InvalidArgumentError(f"the action {action.value} is aimed at nothing", next_step=f"Set it in {source.path}.")
    aim = await _look_up(settings, known, reference, local=local)
    level = _LEVELS[len(aim.target.ids) - 1]
    if level not in AIMED[action]:
        step = "Give the reference of what holds it."
        raise InvalidArgumentError(f"a rule about the action {action.value} can't name one {level}", next_step=step)
    policy = read_policy(source.path, named=False)
    rule = _new_rule(aim, decision, action, policy)
    settled = _settled(policy, rule, action, aim.target)
    if settled is not None:
        return [f"It is so already ({settled}); nothing was written."]
    _refuse_without_effect(policy, rule, action, aim.target, source)
    if not yes:
        _ask(rule, action, source, same_vault(settings, local=local))
    policy = append_rule(source.path, rule)
    lines = [f"written to {source.path}:", _row(policy.rules[-1])]
    now = decide(action, aim.target, settings.switches, policy)
    if now.verdict is not decision:
        lines.append(f"All the same, for all of it or for a part: {now.reason}")
    return lines


def _ask(rule: PolicyRule, action: Action, source: PolicySource, options: str) -> None:
    if not at_terminal():
        ids = [part for part in (rule.vault_id, rule.item_id, rule.field_id) if part is not None]
        line = (
            f"r4-mcp policy allow {write_reference(*ids)} --action {action.value} --decision {rule.verdict.value}{options} --yes"
        )
        raise ApprovalRequiredError(
            "writing a rule needs a person's yes, and there is no terminal to ask on", next_step=f"Run: {line}"
        )
    question = f"Write to {source.path}: {rule.verdict.value} {action.value} {_named(rule)}?"
    require_yes(question, yes=False, what="writing a rule", undone="nothing was written")


def _new_rule(aim: _Aim, verdict: Verdict, action: Action, policy: Policy) -> PolicyRule:
    target = aim.target
    # Without rules, what is left are the defaults.
    default = decide(action, target, Switches(), replace(policy, rules=())).verdict
    opens = verdict is Verdict.ALLOW or verdict.strictness < default.strictness
    return PolicyRule(
        number=len(policy.rules) + 1,
        verdict=verdict,
        actions=frozenset({action}),
        classes=frozenset({target.policy_class}) if opens else frozenset[PolicyClass](),
        vault_id=target.vault_id,
        item_id=target.item_id,
        field_id=target.field_id,
        name=aim.name,
    )


def _settled(policy: Policy, rule: PolicyRule, action: Action, target: Target) -> str | None:
    """Return the title of what says the same already: a rule, or for what is to be open whatever opens it."""
    for old in policy.rules:
        if replace(old, number=rule.number, name=rule.name) == rule:
            return old.title
    now = decide(action, target, Switches(), policy)
    return now.rule if rule.verdict is Verdict.ALLOW and now.verdict is Verdict.ALLOW else None


def _refuse_without_effect(policy: Policy, rule: PolicyRule, action: Action, target: Target, source: PolicySource) -> None:
    for old in policy.rules:
        if old.verdict.strictness > rule.verdict.strictness and old.matches(action, target, unknown=False):
            raise ConfigurationError(
                f"{old.title} says {old.verdict.value} to the same, and the strictest rule decides; nothing was written",
                next_step=f"Change rule {old.number} in {source.path}, then run this again.",
            )


async def _look_up(settings: Settings, known: KnownSecrets, text: str, *, local: bool) -> _Aim:
    opened = open_local(settings, known) if local else open_service(settings, known)
    async with opened as service:
        if service.runtime is None:
            raise service.missing[0]
        return await _resolve(service.runtime.locator, text)


async def _resolve(locator: Locator, text: str) -> _Aim:
    reference = parse_field_reference(text)
    if isinstance(reference, ScreamingKey) or reference.field is not None:
        located = (await locator.field(text)).located
        return _aim(located.vault.summary.checkpoint, located.field.item.checkpoint, located.field.line)
    if reference.item is not None:
        opened = (await locator.item(text)).opened
        return _aim(opened.vault.summary.checkpoint, opened.item.checkpoint)
    return _aim((await locator.vault(text)).vault.summary.checkpoint)


def _aim(vault: SummaryCheckpoint, item: DetailCheckpoint | None = None, field: SignedField | None = None) -> _Aim:
    return _Aim(
        Target(
            vault_id=vault.vault_id,
            classification=vault.classification,
            field_type=None if field is None else field.type,
            item_id=None if item is None else item.item_id,
            field_id=None if field is None else field.id,
        ),
        " / ".join(display(part.name) for part in (vault, item, field) if part is not None),
        () if item is None or field is not None else item.fields,
    )


def _questions(aim: _Aim) -> Iterator[tuple[Action, Target, str]]:
    """Yield what can be asked about a reference: an action, its target, and words for it."""
    target = aim.target
    in_item = replace(target, field_id=None, field_type=None)
    in_vault = replace(in_item, item_id=None)
    for field in aim.fields:
        for action in (Action.REVEAL, Action.USE):
            yield action, replace(target, field_id=field.id, field_type=field.type), f"{display(field.name)}: "
    if not aim.fields:
        for action in (Action.REVEAL, Action.USE):
            yield action, target, "" if target.field_id is not None else "what it holds, at the strictest: "
    yield Action.CREATE, in_vault, "an item in this vault: "
    yield Action.UPDATE, in_item, "an item of this vault, at the strictest: " if target.item_id is None else "this item: "
    yield Action.ARCHIVE, in_item, "this vault: " if target.item_id is None else "this item: "
    for action in sorted(UNAIMED):
        yield action, Target(), ""


def _why(decision: Decision, policy: Policy) -> str:
    rule = next((rule for rule in policy.rules if rule.title == decision.rule), None)
    if rule is not None:
        return f"{rule.title} ({_named(rule)})"
    return decision.rule if decision.rule.startswith("default") else decision.reason


def _switched(switches: Switches) -> Iterator[str]:
    if switches.read_only:
        yield "R4_READ_ONLY is set: whatever follows, nothing is created, archived or rotated."
    if switches.no_reveal:
        yield "R4_NO_REVEAL is set: whatever follows, nothing is revealed."


def _table(policy: Policy) -> Iterator[str]:
    yield "rules, of which the strictest that matches decides:" if policy.rules else "rules: none"
    yield from map(_row, policy.rules)
    yield "defaults, where no rule matches:"
    for action, classes in ((Action.REVEAL, policy.reveal), (Action.USE, policy.use)):
        for found, verdict in classes.items():
            yield f"     {verdict.value:<5}  {action.value:<{_WIDTH}}  class {found.value}"
    for action, verdict in policy.other.items():
        yield f"     {verdict.value:<5}  {action.value}"
    yield "raw requests, those of these forms:" if policy.requests else "raw requests: none, so machine_request is hidden"
    for pattern in policy.requests:
        action = action_of(pattern.method)
        verdict = decide(action, Target(), Switches(), policy).verdict
        yield f"     {verdict.value:<5}  {action.value:<{_WIDTH}}  {pattern}"
    for opening in policy.openings.items:
        places = ", ".join(("headers", "auth", *sorted(opening.places)))
        yield f"requests: {write_reference(opening.vault_id, opening.item_id)} may go to {opening.website} in {places}"
    for command in policy.commands:
        used, shown = ", ".join(write_reference(*ids) for ids in command.secrets), command.output.value
        yield f"command {command.form}, of {used}, in {command.folder}, at most {command.seconds} seconds, output {shown}"
    for root in policy.roots:
        yield f"file {root_line(root)}"
    yield f"reveal budget: {policy.budget.per_connection} fields a connection, {policy.budget.per_hour} an hour"


def _row(rule: PolicyRule) -> str:
    return f"{rule.number:>3}  {rule.verdict.value:<5}  {', '.join(sorted(rule.actions)):<{_WIDTH}}  {_named(rule)}"


def _named(rule: PolicyRule) -> str:
    """Say what a rule names, for people."""
    ids = [part for part in (rule.vault_id, rule.item_id, rule.field_id) if part is not None]
    named = [
        f"class {' or '.join(sorted(rule.classes))}" if rule.classes else "",
        f"type {' or '.join(sorted(rule.field_types))}" if rule.field_types else "",
        write_reference(*ids) if ids else "",
        f"sink {' or '.join(sorted(rule.sinks))}" if rule.sinks else "",
        f"host {' or '.join(sorted(rule.hosts))}" if rule.hosts else "",
        display(rule.name) if rule.name else "",
    ]
    return ", ".join(part for part in named if part) or "anything"
