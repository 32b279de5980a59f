// The reverse door: judges what the Python `core` room signed, wrapped, sealed or proved.
//
//   node open_sealed.mjs < cases.json     {"cases":[…]} in, {"results":[{"ok","why"}…]} out, in the same order
//
// Each case is an object with a `kind` and exactly the members of that kind in CASES below.
// `why` begins with the class of the refusal (see profile.mjs), or is "ok".
//
// Rule 1. A case that can't be read (unknown kind, a member missing, too many or of another type) is bad input
//         and not "ok": false: a misspelled test must not pass as a refusal. Exit 2 and one line on stderr.
// Rule 2. Nothing of the input is printed back except member names and the position of the case.
//
// Known limit: the input goes through JSON.parse, so a payload's duplicate keys and 3.0 are gone before they are
// seen. Envelopes travel as strings and are judged as written.
import process from 'node:process';
import * as profile from './profile.mjs';

const MAX_INPUT_BYTES = 64 * 1024 * 1024;

class BadInput extends Error {}

const mustEqual = (held, reason) => {
  if (!held) throw new profile.Refusal('mismatch', reason);
};

// ---- member types -----------------------------------------------------------------------------------------

const isText = (value) => typeof value === 'string';
const isHex = (digits) => (value) => isText(value) && value.length === digits && /^[0-9a-f]*$/.test(value);
const isId = isHex(24);
const isHash = isHex(64);
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isProof = (value) => Array.isArray(value) && value.every(isText);
const hex = (text) => Buffer.from(text, 'hex');
const hashesOf = (proof) => proof.map((text) => profile.decodeBase64(text, 'proof'));

// ---- kinds ------------------------------------------------------------------------------------------------

const CASES = {
  signature: {
    members: { publicKey: isText, context: isText, payload: isObject, signature: isText },
    judge: (c) => profile.verify(profile.readPublicKey(c.publicKey), c.context, c.payload, c.signature),
  },
  wrap: {
    members: { privateKey: isText, wrappedDek: isText, dekHex: isHash },
    judge: (c) => {
      const dek = profile.unwrap(profile.readPrivateKey(c.privateKey), c.wrappedDek);
      mustEqual(dek.equals(hex(c.dekHex)), 'opens to another DEK');
    },
  },
  envelope: {
    members: {
      dekHex: isHash, vaultId: isId, vaultItemId: isId, fieldId: isId, fieldInstanceId: isId, envelope: isText,
      plaintext: isText,
    },
    judge: (c) => mustEqual(profile.open(hex(c.dekHex), c, c.envelope) === c.plaintext, 'opens to another value'),
  },
  inclusion: {
    members: { leaf: isObject, leafIndex: isCount, treeSize: isCount, proof: isProof, rootHash: isHash },
    judge: (c) => profile.verifyInclusion(
      profile.hashLeaf(c.leaf), c.leafIndex, c.treeSize, hashesOf(c.proof), hex(c.rootHash)),
  },
  consistency: {
    members: {
      fromTreeSize: isCount, toTreeSize: isCount, proof: isProof, fromRootHash: isHash, toRootHash: isHash,
    },
    judge: (c) => profile.verifyConsistency(
      c.fromTreeSize, c.toTreeSize, hashesOf(c.proof), hex(c.fromRootHash), hex(c.toRootHash)),
  },
};

// ---- reading and judging ----------------------------------------------------------------------------------

function checkCase(claimed, position) {
  const at = `case ${position}`;
  if (!isObject(claimed)) throw new BadInput(`${at} is not an object`);
  if (!isText(claimed.kind) || !Object.hasOwn(CASES, claimed.kind)) {
    throw new BadInput(`${at}: kind is not one of ${Object.keys(CASES).join(', ')}`);
  }
  const { members } = CASES[claimed.kind];
  for (const [name, isType] of Object.entries(members)) {
    if (!Object.hasOwn(claimed, name)) throw new BadInput(`${at}: ${claimed.kind} without ${name}`);
    if (!isType(claimed[name])) throw new BadInput(`${at}: ${name} is not of its type`);
  }
  if (Object.keys(claimed).length !== Object.keys(members).length + 1) {
    throw new BadInput(`${at}: ${claimed.kind} has members other than kind, ${Object.keys(members).join(', ')}`);
  }
}

/** Read all of stdin as a stream: a synchronous read of a pipe fails with EAGAIN when the writer is slower. */
async function readInput() {
  const chunks = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    size += chunk.length;
    if (size > MAX_INPUT_BYTES) throw new BadInput(`input is larger than ${MAX_INPUT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function readCases(bytes) {
  let document;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    // The parser's own message would quote the input.
    throw new BadInput('input is not one JSON document in UTF-8');
  }
  if (!isObject(document) || !Array.isArray(document.cases) || Object.keys(document).length !== 1) {
    throw new BadInput('input is not {"cases":[...]}');
  }
  document.cases.forEach(checkCase);
  return document.cases;
}

function judge(sealed) {
  try {
    CASES[sealed.kind].judge(sealed);
    return { ok: true, why: 'ok' };
  } catch (error) {
    if (error instanceof profile.Refusal) return { ok: false, why: error.message };
    throw error;
  }
}

try {
  const results = readCases(await readInput()).map(judge);
  process.stdout.write(`${JSON.stringify({ results })}\n`);
} catch (error) {
  if (!(error instanceof BadInput)) throw error;
  process.stderr.write(`open_sealed: ${error.message}\n`);
  process.exitCode = 2;
}
