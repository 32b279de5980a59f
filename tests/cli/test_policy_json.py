"""``r4-mcp policy check --json``: what the policy comes to, for programs."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Final

from r4_mcp.policy.model import Policy
from tests.doors import World, write_private

from .running import run_here

VAULT: Final = "a" * 24


def test_check_for_programs_says_the_same(world: World) -> None:
    """As JSON, at the command line: rules and defaults by the model's names, sets in order, and nothing left out."""
    path = write_private(
        world.home / "policy.toml",
        '[[rule]]\naction = ["use", "reveal"]\ndecision = "ask"\nclassification = "PUBLIC"\n'
        f'vault = "{VAULT}"\n[budget]\nper_hour = 5\n[http_request]\nnetworks = ["10.1.2.0/24"]\n',
    )
    ended = run_here("policy", "check", "--json", environment={**world.environment, "R4_READ_ONLY": "1"})
    assert (ended.status, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert (told["path"], told["exists"]) == (str(path), True)
    assert told["switches"] == {"read_only": True, "no_reveal": False}
    (rule,) = told["policy"]["rules"]
    assert (rule["verdict"], rule["actions"], rule["classes"], rule["vault_id"]) == ("ask", ["reveal", "use"], ["PUBLIC"], VAULT)
    assert told["policy"]["reveal"] == {kind.value: verdict.value for kind, verdict in Policy().reveal.items()}
    assert told["policy"]["budget"] == {"per_connection": 20, "per_hour": 5}
    assert told["policy"]["openings"]["networks"] == ["10.1.2.0/24"]
    assert set(told["policy"]) == {member.name for member in fields(Policy)}


def test_check_for_programs_refuses_what_it_can_not_read(world: World) -> None:
    """On stderr, with its next step, as without ``--json``."""
    write_private(world.home / "policy.toml", "[[rule]\n")
    ended = run_here("policy", "check", "--json", environment=world.environment)
    assert (ended.status, ended.out) == (1, "")
    assert "next: " in ended.err
