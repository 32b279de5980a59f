// Builds vectors.json, then reads the written text back and holds every vector in it to its expected outcome.
//
//   node build_vectors.mjs [--keep]     rebuild; keys already in vectors.json are reused
//   node build_vectors.mjs --new-keys   rebuild with fresh keys
//   node build_vectors.mjs --check      rebuild nothing: judge the file as it is
//
// Rule 1. A file that fails a check is never written. Exit 0: all held. 1: something did not. 2: wrong usage.
// Rule 2. A negative vector must fail with the class its `why` begins with: another class is a failed check.
// Rule 3. The file is ASCII (other characters as \u escapes), so that no tool on its way normalises it.
import crypto from 'node:crypto';
import fs from 'node:fs';
import process from 'node:process';
import { envelopeCases, idOf, jcsCases, merkleSection } from './cases_fixed.mjs';
import { signatureCases, wrapCases } from './cases_rsa.mjs';
import { checkForger } from './forge.mjs';
import * as profile from './profile.mjs';

const FILE = new URL('vectors.json', import.meta.url);
const KEY_BITS = { human: 2048, agent: 3072, successor: 2048, stranger: 4096 };
const hex = (text) => Buffer.from(text, 'hex');

// ---- keys -------------------------------------------------------------------------------------------------

function newKey(name, bits) {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', { modulusLength: bits });
  return {
    id: idOf(`key ${name}`), bits,
    // No PEM armour: a scanner for leaked keys should not have to learn that this one is nobody's.
    pkcs8: privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
    spkiPem: publicKey.export({ type: 'spki', format: 'pem' }),
    fingerprint: profile.fingerprint(publicKey),
  };
}

const withHandles = (keys) => Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, {
  ...key, privateKey: profile.readPrivateKey(key.pkcs8), publicKey: profile.readPublicKey(key.spkiPem),
}]));

function build(kept = {}) {
  const keys = Object.fromEntries(
    Object.entries(KEY_BITS).map(([name, bits]) => [name, kept[name] ?? newKey(name, bits)]));
  const usable = withHandles(keys);
  return {
    profile: profile.PROFILE, builder: 'build_vectors.mjs', keys,
    jcs: jcsCases(), signatures: signatureCases(usable), wraps: wrapCases(usable), envelopes: envelopeCases(),
    merkle: merkleSection(usable),
  };
}

const write = (vectors) => `${JSON.stringify(vectors, null, 2).replace(/[\u007f-\uffff]/g, (unit) =>
  `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;

// ---- checks -----------------------------------------------------------------------------------------------

const expect = (held, message) => {
  if (!held) throw new Error(message);
};

/** The class of what `call` does: "ok", or the kind of its Refusal. Any other error is ours and goes up. */
function outcome(call) {
  try {
    call();
    return 'ok';
  } catch (error) {
    if (error instanceof profile.Refusal) return error.kind;
    throw error;
  }
}

const SHAPES = {
  key: 'bits fingerprint id pkcs8 spkiPem',
  jcs: 'canonicalHex name value',
  signatures: 'context digest key kind name payload signature valid why',
  wraps: 'dekHex entry expected key name signedBy valid why',
  envelopes: 'dekHex envelope fieldId fieldInstanceId ivHex name plaintext valid vaultId vaultItemId why',
};
const ID = /^[0-9a-f]{24}$/;
const HASH = /^[0-9a-f]{64}$/;
const hasShape = (row, shape) => Object.keys(row).sort().join(' ') === SHAPES[shape];

/** Every id-like member at any depth is 24 lowercase hex characters, or null where the contract has null. */
function checkIds(value, key = '') {
  if (Array.isArray(value)) value.forEach((member) => checkIds(member, key));
  else if (value !== null && typeof value === 'object') Object.entries(value).forEach(([k, v]) => checkIds(v, k));
  else if (/^id$|Ids?$/.test(key)) expect(value === null || ID.test(value), `${key} is not an id`);
}

function checkRows(vectors, section, judge) {
  const rows = vectors[section];
  expect(new Set(rows.map((row) => row.name)).size === rows.length, `${section}: a name twice`);
  for (const row of rows) {
    const at = `${section}: ${row.name}`;
    expect(hasShape(row, section), `${at}: other members than ${SHAPES[section]}`);
    const expected = section === 'jcs' ? 'ok' : row.why.split(':')[0];
    if (section !== 'jcs') expect(row.valid === (expected === 'ok'), `${at}: valid and why disagree`);
    const found = outcome(() => judge(row, at));
    expect(found === expected, `${at}: expected ${expected}, found ${found}`);
  }
}

function checkMerkle({ leaves, leafHashes, roots, inclusion, consistency }) {
  const hashes = leafHashes.map(hex);
  const rootOf = (size) => hex(roots[size]);
  expect([...leafHashes, ...roots].every((hash) => HASH.test(hash)), 'merkle: a hash is not 64 hex characters');
  expect(leaves.every((leaf, i) => profile.hashLeaf(leaf).equals(hashes[i])), 'merkle: a leaf hash differs');
  expect(roots[0] === profile.sha256().toString('hex'), 'merkle: root of the empty tree');
  expect(roots.length === leaves.length + 1 && new Set(roots).size === roots.length, 'merkle: roots');
  roots.forEach((_, size) => expect(profile.root(hashes.slice(0, size)).equals(rootOf(size)), `root of ${size}`));
  const pairs = (leaves.length * (leaves.length + 1)) / 2;
  const judge = (rows, members, name, call) => {
    expect(new Set(rows.map((row) => members.map((m) => row[m]).join())).size === pairs, `${name}: not all pairs`);
    for (const row of rows) {
      const at = `${name} ${members.map((member) => row[member]).join(' ')}`;
      const proof = row.proof.map((text) => profile.decodeBase64(text, 'proof'));
      const run = (changed) => outcome(() => call(row, changed));
      expect(run(proof) === 'ok', at);
      // A verifier that says yes to everything would pass the line above.
      expect(run([...proof, hashes[0]]) === 'proof', `${at}: too long`);
      if (proof.length) expect(run(proof.slice(1)) === 'proof', `${at}: first hash missing`);
      if (proof.length) expect(run(proof.slice(0, -1)) === 'proof', `${at}: last hash missing`);
      proof.forEach((hash, i) => expect(run(proof.with(i, profile.sha256(hash))) === 'proof', `${at}: hash ${i}`));
    }
  };
  judge(inclusion, ['leafIndex', 'treeSize'], 'inclusion', ({ leafIndex, treeSize }, proof) =>
    profile.verifyInclusion(hashes[leafIndex], leafIndex, treeSize, proof, rootOf(treeSize)));
  judge(consistency, ['fromTreeSize', 'toTreeSize'], 'consistency', ({ fromTreeSize, toTreeSize }, proof) =>
    profile.verifyConsistency(fromTreeSize, toTreeSize, proof, rootOf(fromTreeSize), rootOf(toTreeSize)));
}

/** Anchors from outside: without them, a shared mistake of maker and judge would go unseen. */
function checkAnchors({ human }) {
  // The eight leaves and roots of the Certificate Transparency reference implementation.
  const leaves = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
  const root8 = profile.root(leaves.map((leaf) => profile.leafHash(hex(leaf)))).toString('hex');
  expect(root8 === '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328', 'anchor: log of 8 leaves');
  // Strings and literals of the sample in RFC 8785 section 3.2.2.
  const sample = { string: '\u20ac$\u000f\nA\'B"\\\\"/', literals: [null, true, false] };
  const canonical = '{"literals":[null,true,false],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}';
  expect(profile.jcs(sample) === canonical, 'anchor: canonical JSON');
  const unfit = [1.5, NaN, Infinity, -0, 2 ** 53, -(2 ** 53), 1n, undefined, () => 0, '\ud800', { '\udc00': 1 },
    new Date(0), [undefined]];
  unfit.forEach((value) => expect(outcome(() => profile.jcs(value)) === 'malformed', `jcs took ${String(value)}`));
  checkForger(human.privateKey, human.publicKey, profile.CONTEXTS.summary);
}

// What a live credential of a well-known provider starts with; a scanner's alarm over a test file costs trust.
const LIVE = /AKIA[0-9A-Z]{16}|gh[pousr]_\w{20}|github_pat_|sk_live|rk_live|xox[abprs]-|AIza[\w-]{35}|PRIVATE KEY/;

function check(text) {
  expect(/^[\n\x20-\x7e]*$/.test(text), 'the file is not ASCII');
  expect(!LIVE.test(text), 'something looks like a live credential');
  const vectors = JSON.parse(text);
  expect(write(vectors) === text, 'the file is not spelled as the builder spells it');
  checkIds({ ...vectors, jcs: [] });
  expect(Object.keys(vectors.keys).join() === Object.keys(KEY_BITS).join(), 'keys: other names');
  const keys = withHandles(vectors.keys);
  for (const [name, key] of Object.entries(keys)) {
    expect(hasShape(vectors.keys[name], 'key'), `keys: ${name}: other members`);
    expect(key.publicKey.equals(crypto.createPublicKey(key.privateKey)), `keys: ${name}: halves differ`);
    expect(key.fingerprint === profile.fingerprint(key.publicKey), `keys: ${name}: fingerprint`);
    expect([key.bits, KEY_BITS[name]].every((n) => n === key.privateKey.asymmetricKeyDetails.modulusLength), name);
  }
  checkAnchors(keys);
  const fixed = { jcs: jcsCases(), envelopes: envelopeCases(), merkle: merkleSection(keys) };
  for (const [section, rows] of Object.entries(fixed)) {
    expect(profile.jcs(rows) === profile.jcs(vectors[section]), `${section}: the file lags behind its builder`);
  }
  checkRows(vectors, 'jcs', (row, at) => {
    expect(profile.jcs(row.value) === hex(row.canonicalHex).toString('utf8'), at);
    // Parsing what was canonicalised and doing it again changes nothing.
    expect(profile.jcs(JSON.parse(profile.jcs(row.value))) === profile.jcs(row.value), at);
  });
  checkRows(vectors, 'signatures', (row, at) => {
    expect(row.context === profile.CONTEXTS[row.kind], `${at}: context`);
    expect(row.digest === profile.digest(row.context, row.payload), `${at}: digest`);
    profile.verify(keys[row.key].publicKey, row.context, row.payload, row.signature);
  });
  checkRows(vectors, 'wraps', (row, at) => {
    expect(row.expected === row.why.split(':')[0], `${at}: expected and why disagree`);
    const dek = profile.openEntry(row.entry, keys[row.key], keys[row.signedBy].publicKey);
    expect(dek.equals(hex(row.dekHex)), `${at}: another DEK`);
  });
  checkRows(vectors, 'envelopes', (row, at) => {
    expect((row.plaintext !== null) === row.valid && HASH.test(row.dekHex), `${at}: plaintext or DEK`);
    const plaintext = profile.open(hex(row.dekHex), row, row.envelope);
    expect(plaintext === row.plaintext, `${at}: another plaintext`);
    expect(profile.seal(hex(row.dekHex), row, plaintext, hex(row.ivHex)) === row.envelope, `${at}: sealed otherwise`);
  });
  checkMerkle(vectors.merkle);
  return Object.entries({ ...vectors, ...vectors.merkle }).filter(([, rows]) => Array.isArray(rows))
    .map(([name, rows]) => `${name} ${rows.length}`).join(', ');
}

const [mode = '--keep', ...extra] = process.argv.slice(2);
if (!['--keep', '--new-keys', '--check'].includes(mode) || extra.length) {
  process.stderr.write('usage: node build_vectors.mjs [--keep | --new-keys | --check]\n');
  process.exit(2);
}
try {
  const existing = fs.existsSync(FILE) && mode !== '--new-keys' ? fs.readFileSync(FILE, 'utf8') : null;
  if (mode === '--check') expect(existing, 'there is no vectors.json');
  const text = mode === '--check' ? existing : write(build(existing ? JSON.parse(existing).keys : {}));
  process.stdout.write(`all held: ${check(text)}\n`);
  if (mode !== '--check') fs.writeFileSync(FILE, text);
} catch (error) {
  process.stderr.write(`build_vectors: ${error.message}\n`);
  process.exitCode = 1;
}
