"""Which tests guard which file, and which defences are caught first by another one.

A mutant of a file is killed by the tests of that file, not by whatever else happens to fail: a proof that stands only at the far
end of the house is a weak one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[2] / "r4_mcp"

TESTS: Final[dict[str, tuple[str, ...]]] = {
    "core/checkpoint.py": ("core/test_checkpoint*.py", "core/test_trust_only_grows.py", "core/test_sync.py"),
    "core/directory.py": ("core/test_directory*.py", "core/test_trust_only_grows.py"),
    "core/encoding.py": ("core/test_encoding.py",),
    "core/envelope.py": ("core/test_envelope.py",),
    "core/keys.py": ("core/test_keys.py",),
    "core/merkle.py": ("core/test_merkle.py",),
    "core/record.py": ("core/test_record.py", "core/test_wire.py", "core/test_served.py"),
    "core/served.py": ("core/test_served.py", "core/test_sync.py"),
    "core/signing.py": ("core/test_signing.py",),
    "core/sync.py": ("core/test_sync.py",),
    "core/trust_codec.py": ("core/test_trust_codec.py", "vault/test_trust_store.py"),
    "core/wire.py": ("core/test_wire.py",),
    "core/wrapping.py": ("core/test_wrapping.py",),
    "machine/client.py": ("machine/test_client.py",),
    "vault/concurrently.py": ("vault/test_concurrently.py",),
    "vault/evidence.py": ("vault/test_evidence.py", "vault/test_reader.py"),
    "vault/event_file.py": ("vault/test_event_file.py",),
    "vault/exports.py": ("vault/test_exports.py",),
    "vault/index.py": ("vault/test_index.py", "vault/test_sync_pages.py"),
    "vault/item_creation.py": ("vault/test_lost_replies.py", "vault/test_writer.py"),
    "vault/item_update.py": ("vault/test_item_update.py", "cli/test_edit_lost_replies.py"),
    "vault/journal.py": ("vault/test_journal.py", "vault/test_lost_replies.py", "crash/test_races.py"),
    "vault/key_file.py": ("vault/test_key_file.py",),
    "vault/locator.py": ("vault/test_locator.py", "vault/test_names_and_new_vaults.py", "vault/test_index.py"),
    "vault/locked_file.py": ("vault/test_locked_file.py", "vault/test_trust_store.py", "vault/test_event_file.py"),
    "vault/one_time_code.py": ("vault/test_one_time_code.py",),
    "vault/opener.py": ("vault/test_opener.py", "vault/test_reader.py"),
    "vault/reader.py": ("vault/test_reader.py",),
    "vault/recovery.py": (
        "vault/test_registration.py",
        "vault/test_rotation.py",
        "crash/test_bad_batches.py",
        "crash/test_races.py",
    ),
    "vault/references.py": ("vault/test_references.py",),
    "vault/registration.py": ("vault/test_registration.py",),
    "vault/rotation.py": (
        "vault/test_rotation.py",
        "crash/test_bad_batches.py",
        "crash/test_key_files.py",
        "crash/test_other_holders.py",
        "crash/test_races.py",
        "crash/test_unclear_outcomes.py",
        "cli/test_rotate_key.py",
    ),
    "vault/rotation_batch.py": ("vault/test_rotation.py", "crash/test_bad_batches.py"),
    "vault/rotation_plan.py": ("vault/test_journal.py",),
    "vault/runtime_key.py": ("vault/test_reader.py", "vault/test_registration.py"),
    "vault/shared.py": ("vault/test_reader.py", "vault/test_under_load.py"),
    "vault/signer.py": ("vault/test_writer.py",),
    "vault/sync.py": ("vault/test_sync_pages.py", "attacks/test_sync_lies.py"),
    "vault/trust_store.py": ("vault/test_trust_store.py", "vault/test_trust_machine.py"),
    "vault/vault_creation.py": ("vault/test_lost_replies.py", "vault/test_writer.py"),
    "vault/writer.py": ("vault/test_writer.py", "vault/test_lost_replies.py"),
}
"""File under the package → patterns of test modules under ``tests``. A file that is not here is reported, not skipped."""

COVERED: Final[dict[tuple[str, str, str, str], str]] = {
    # Versions are noted for retired signers alone, and a revoked one, which may have been retired before, is not found at all.
    ("core/checkpoint.py", "_not_after_retirement", "part", "signer.status is SignerStatus.RETIRED"): "Directory.find, rule 7",
    ("core/checkpoint.py", "_may_be_newer", "part", "signer.status is SignerStatus.RETIRED"): "Directory.find, rule 7",
    # ``advance_summary`` has noted the versions of every retired signer before a detail can be proven.
    ("core/checkpoint.py", "_may_be_newer", "part", "retired is not None"): "advance_summary, checkpoint rule 2",
    # UTF-8 has at least as many bytes as a text has characters; the look at the characters only spares the encoding.
    ("core/envelope.py", "encode_value", "part", "len(value) > MAX_VALUE_SIZE"): "the limit of the encoded bytes",
    # ``advance_summary`` has noted the versions of every retired signer before a wrapped key can be proven.
    ("core/wrapping.py", "prove_entry", "part", "noted is not None"): "advance_summary, checkpoint rule 2",
    # A private key whose parts do not belong together is not loaded; that it signs is tried once more before it is sent.
    (
        "vault/key_file.py",
        "KeyFile.stage",
        "call",
        "verify(key.public, Context.KEY_ROTATION, probe, sign(again, Context.KEY_ROTATION, probe))",
    ): "the checks of the PEM parser",
    # What has no place to be encrypted for has no ciphertext either; both are asked for the sake of the types.
    ("vault/opener.py", "VaultOpener._open", "part", "place is None"): "the look at the envelope",
    ("vault/opener.py", "VaultOpener._open", "part", "field.envelope is None"): "the look at the place",
    # Each further sibling changes the earlier root too, so the comparison with the remembered root refuses what is too long.
    ("core/merkle.py", "check_consistency", "guard", "last == 0"): "the comparison of the earlier root",
}
"""Mutant → the defence that catches it first. Only for what no input can tell apart; a missing test is not a defence."""


def guards_of(file: str) -> tuple[str, ...]:
    """Return the test modules of a file that exist, as paths under the repository."""
    folder = PACKAGE.parent / "tests"
    found = {path for pattern in TESTS.get(file, ()) for path in folder.glob(pattern)}
    return tuple(path.relative_to(folder.parent).as_posix() for path in sorted(found))
