"""What the documents say of using secrets is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from r4_mcp.policy.command_rules import ShownOutput
from r4_mcp.policy.file_rules import FileFormat
from r4_mcp.policy.model import Action, Verdict
from r4_mcp.policy.policy_text import parse_policy
from r4_mcp.policy.use_rules import OpenPlace, Sink
from tests.sinks.test_masking_limits import UNCAUGHT

ROOT = Path(__file__).parents[2]


def test_the_policy_of_the_readme_is_understood() -> None:
    """Whole, and it comes to what its comments say."""
    section = (ROOT / "README.md").read_text().split("## Use a secret without showing it")[1].split("\n## ")[0]
    policy = parse_policy("".join(re.findall(r"```toml\n(.*?)```", section, re.DOTALL)).encode())
    (opening,) = policy.openings.items
    assert (opening.website, opening.places) == ("https://api.example.com/login", frozenset({OpenPlace.JSON}))
    assert ([str(network) for network in policy.openings.networks], policy.openings.loopback_http) == (["10.1.2.0/24"], False)
    assert [rule.actions for rule in policy.rules] == [frozenset({Action.USE})] * 2
    assert [rule.verdict for rule in policy.rules] == [Verdict.DENY, Verdict.ALLOW]
    (root,) = policy.roots
    assert (root.title, root.path, root.formats, root.item_id is None) == (
        "shop",
        "/home/you/shop",
        frozenset({FileFormat.ENV}),
        False,
    )
    (command,) = policy.commands
    assert (command.env, command.stdin, command.seconds, command.output) == (
        frozenset({"DEPLOY_TOKEN"}),
        False,
        120,
        ShownOutput.MASKED,
    )
    assert command.fits(["/srv/shop/bin/deploy", "--stage", "live", "v1.20"], {"DEPLOY_TOKEN"}, stdin=False)
    assert (policy.rules[1].sinks, policy.rules[1].hosts) == (frozenset({Sink.HTTP_REQUEST}), frozenset({"api.example.com"}))


def test_every_transformation_that_is_not_caught_is_named() -> None:
    """In the security policy, in the words of the list that the masker is tested against."""
    told = " ".join((ROOT / ".github" / "SECURITY.md").read_text().split())
    assert [name for name, _ in UNCAUGHT if name not in told] == []
