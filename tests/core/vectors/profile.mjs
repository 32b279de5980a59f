// The wire profile r4-2026-11, written a second time, in another language, from the contract alone.
//
// It shares no code, library or author's habit with the Python `core` room: where the two agree, the bytes are
// the contract's and not one parser's accident. It is not a client, it fetches nothing, it trusts nobody.
//
// Rule 1. Anything not accepted is thrown as a Refusal, whose `kind` says why: a bool would let a negative
//         vector pass for the wrong reason.
// Rule 2. One value has one spelling. Whatever is decoded is encoded again and compared.
// Rule 3. Shape is judged before cryptography, and cryptography before meaning.
import crypto from 'node:crypto';

export const PROFILE = 'r4-2026-11';
export const CONTEXTS = {
  summary: 'r4.summary-checkpoint.v1',
  detail: 'r4.detail-checkpoint.v1',
  'wrapped-dek': 'r4.wrapped-dek.v1',
  'key-rotation': 'r4.key-rotation.v1',
};
export const SALT_BYTES = 32;
export const DEK_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const { RSA_PKCS1_PSS_PADDING, RSA_PKCS1_OAEP_PADDING } = crypto.constants;

/** Kinds: malformed (shape or encoding), key, signature, not_mine, damaged (does not open), mismatch, proof. */
export class Refusal extends Error {
  constructor(kind, reason) {
    super(`${kind}: ${reason}`);
    this.kind = kind;
  }
}
const refuse = (kind, reason) => { throw new Refusal(kind, reason); };
/** Run one library call; whatever it throws says no more than that it failed. */
const attempt = (kind, reason, call) => {
  try {
    return call();
  } catch {
    return refuse(kind, reason);
  }
};
export const sha256 = (...parts) => crypto.createHash('sha256').update(Buffer.concat(parts)).digest();
const utf8 = (text) => Buffer.from(text, 'utf8');

// ---- Canonical JSON (RFC 8785), for the values the contract has: no floats --------------------------------

/** Canonicalise `value`. A lone surrogate has no UTF-8, so it is refused and not replaced. */
export function jcs(value) {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') {
    // -0 is a float's idea: as an integer it has a spelling already, "0".
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) refuse('malformed', 'number is not a bounded integer');
    return String(value);
  }
  if (typeof value === 'string') {
    if (!value.isWellFormed()) refuse('malformed', 'string has a lone surrogate');
    // For well-formed strings, ECMAScript's own quoting is what RFC 8785 section 3.2.2.2 is defined by.
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${Array.from(value, jcs).join(',')}]`;
  if (typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    // sort() without a comparer orders by UTF-16 code units, as RFC 8785 section 3.2.3 asks.
    const members = Object.keys(value).sort().map((key) => `${jcs(key)}:${jcs(value[key])}`);
    return `{${members.join(',')}}`;
  }
  return refuse('malformed', `a ${typeof value} has no canonical form here`);
}

/** Standard, padded base64 with zero trailing bits; Buffer.from alone forgives everything. */
export function decodeBase64(text, what) {
  if (typeof text !== 'string') refuse('malformed', `${what} is not a string`);
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) refuse('malformed', `${what} is not canonical base64`);
  return bytes;
}

// ---- Keys -------------------------------------------------------------------------------------------------

function checkRsa(key) {
  const { modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType !== 'rsa') refuse('key', 'not an RSA key');
  if (modulusLength < 2048 || modulusLength > 4096) refuse('key', `modulus of ${modulusLength} bits`);
  if (publicExponent !== 65537n) refuse('key', 'public exponent is not 65537');
  return key;
}

export function readPublicKey(pem) {
  // createPublicKey would also take a private key or a certificate and derive the public half from it.
  if (!pem.startsWith('-----BEGIN PUBLIC KEY-----')) refuse('key', 'not SPKI PEM');
  const parse = () => crypto.createPublicKey({ key: pem, format: 'pem', type: 'spki' });
  return checkRsa(attempt('key', 'SPKI PEM does not parse', parse));
}

export function readPrivateKey(pkcs8Base64) {
  const der = decodeBase64(pkcs8Base64, 'private key');
  const parse = () => crypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return checkRsa(attempt('key', 'PKCS8 DER does not parse', parse));
}

export const fingerprint = (publicKey) => sha256(publicKey.export({ type: 'spki', format: 'der' })).toString('hex');

// ---- Signatures -------------------------------------------------------------------------------------------

export const signedBytes = (context, payload) => utf8(`${context}\n${jcs(payload)}`);
export const digest = (context, payload) => sha256(signedBytes(context, payload)).toString('hex');

// saltLength is spelled out on both sides: left to its default, a verifier accepts any length.
const pss = (key) => ({ key, padding: RSA_PKCS1_PSS_PADDING, saltLength: SALT_BYTES });

export const sign = (privateKey, context, payload) =>
  crypto.sign('sha256', signedBytes(context, payload), pss(privateKey)).toString('base64');

export function verify(publicKey, context, payload, signature) {
  if (!Object.values(CONTEXTS).includes(context)) refuse('malformed', 'unknown context');
  const bytes = decodeBase64(signature, 'signature');
  if (!crypto.verify('sha256', signedBytes(context, payload), pss(publicKey), bytes)) {
    refuse('signature', 'does not verify');
  }
}

// ---- Wrapped DEKs -----------------------------------------------------------------------------------------

// Node uses oaepHash for MGF1 as well, which is what the profile asks.
const oaep = (key) => ({ key, padding: RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' });

export const wrap = (publicKey, dek) => crypto.publicEncrypt(oaep(publicKey), dek).toString('base64');

export function unwrap(privateKey, wrappedDek) {
  const bytes = decodeBase64(wrappedDek, 'wrappedDek');
  const dek = attempt('damaged', 'wrappedDek does not open', () => crypto.privateDecrypt(oaep(privateKey), bytes));
  if (dek.length !== DEK_BYTES) refuse('damaged', `DEK of ${dek.length} bytes`);
  return dek;
}

/** Open a signed entry as the owner of `mine`; the signature is judged before anything is decrypted. */
export function openEntry(entry, mine, signerPublicKey) {
  if (entry.encryptionKeyId !== mine.id) refuse('not_mine', 'wrapped to another key');
  const { wrappedDekSignature, ...payload } = entry;
  verify(signerPublicKey, CONTEXTS['wrapped-dek'], payload, wrappedDekSignature);
  return unwrap(mine.privateKey, entry.wrappedDek);
}

// ---- Field envelopes --------------------------------------------------------------------------------------

export const aad = ({ vaultId, vaultItemId, fieldId, fieldInstanceId }) =>
  utf8(jcs({ fieldId, fieldInstanceId, v: 3, vaultId, vaultItemId }));

export const spellEnvelope = (iv, tag, ciphertext) =>
  `{"v":3,"iv":"${iv.toString('base64')}","t":"${tag.toString('base64')}","d":"${ciphertext.toString('base64')}"}`;

export function seal(dek, ids, plaintext, iv) {
  if (!plaintext.isWellFormed()) refuse('malformed', 'plaintext has a lone surrogate');
  if (iv.length !== IV_BYTES) refuse('malformed', `iv of ${iv.length} bytes`);
  const cipher = crypto.createCipheriv('aes-256-gcm', dek, iv, { authTagLength: TAG_BYTES }).setAAD(aad(ids));
  const ciphertext = Buffer.concat([cipher.update(utf8(plaintext)), cipher.final()]);
  return spellEnvelope(iv, cipher.getAuthTag(), ciphertext);
}

// The string has exactly one spelling, so it is matched and never parsed: a JSON parser would take duplicate
// keys, 3.0, whitespace and another key order. `s`/`m` flags stay off so that $ means the end.
const ENVELOPE = /^\{"v":3,"iv":"([^"\\]*)","t":"([^"\\]*)","d":"([^"\\]*)"\}$/;

export function open(dek, ids, envelope) {
  const parts = ENVELOPE.exec(envelope) ?? refuse('malformed', 'envelope is not spelled as v3');
  const iv = decodeBase64(parts[1], 'iv');
  const tag = decodeBase64(parts[2], 'tag');
  const ciphertext = decodeBase64(parts[3], 'ciphertext');
  if (iv.length !== IV_BYTES) refuse('malformed', `iv of ${iv.length} bytes`);
  if (tag.length !== TAG_BYTES) refuse('malformed', `tag of ${tag.length} bytes`);
  const decipher = crypto.createDecipheriv('aes-256-gcm', dek, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(aad(ids)).setAuthTag(tag);
  const plain = attempt('damaged', 'envelope does not open', () =>
    Buffer.concat([decipher.update(ciphertext), decipher.final()]));
  // ignoreBOM keeps a leading U+FEFF: it belongs to the value.
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return attempt('damaged', 'value is not UTF-8', () => decoder.decode(plain));
}

// ---- The signer log (RFC 6962 section 2.1; verification by RFC 9162 sections 2.1.3.2 and 2.1.4.2) ---------
// Proofs are made by the recursive definition and verified by the iterative one: two algorithms, not one twice.

export const leafHash = (bytes) => sha256(Buffer.of(0), bytes);
export const hashLeaf = (leaf) => leafHash(utf8(jcs(leaf)));
const node = (left, right) => sha256(Buffer.of(1), left, right);
const split = (size) => 2 ** Math.floor(Math.log2(size - 1));

export function root(hashes) {
  if (hashes.length === 0) return sha256();
  if (hashes.length === 1) return hashes[0];
  const k = split(hashes.length);
  return node(root(hashes.slice(0, k)), root(hashes.slice(k)));
}

export function inclusionProof(hashes, index) {
  if (hashes.length === 1) return [];
  const k = split(hashes.length);
  const [left, right] = [hashes.slice(0, k), hashes.slice(k)];
  if (index < k) return [...inclusionProof(left, index), root(right)];
  return [...inclusionProof(right, index - k), root(left)];
}

export function consistencyProof(hashes, from, whole = true) {
  if (from === hashes.length) return whole ? [] : [root(hashes)];
  const k = split(hashes.length);
  const [left, right] = [hashes.slice(0, k), hashes.slice(k)];
  if (from <= k) return [...consistencyProof(left, from, whole), root(right)];
  return [...consistencyProof(right, from - k, false), root(left)];
}

const isSize = (n, least) => Number.isSafeInteger(n) && n >= least;
const checkHashes = (hashes) =>
  hashes.every((hash) => hash.length === 32) || refuse('malformed', 'a hash is not 32 bytes');
const same = (a, b) => a.equals(b) || refuse('proof', 'does not lead to the root');

/** Walk from node `fn` of a level whose last node is `sn`; BigInt because >> cuts numbers to 32 bits. */
function climb(fn, sn, path, joinLeft, joinRight) {
  for (const hash of path) {
    if (sn === 0n) refuse('proof', 'too long');
    if (fn & 1n || fn === sn) {
      joinLeft(hash);
      while (!(fn & 1n) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else joinRight(hash);
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  if (sn !== 0n) refuse('proof', 'too short');
}

export function verifyInclusion(leaf, index, size, proof, rootHash) {
  if (!isSize(index, 0) || !isSize(size, 1) || index >= size) refuse('malformed', 'index is not inside the tree');
  checkHashes([leaf, rootHash, ...proof]);
  let r = leaf;
  climb(BigInt(index), BigInt(size - 1), proof, (h) => { r = node(h, r); }, (h) => { r = node(r, h); });
  same(r, rootHash);
}

export function verifyConsistency(from, to, proof, fromRoot, toRoot) {
  if (!isSize(from, 1) || !isSize(to, 1) || from > to) refuse('malformed', 'sizes do not grow');
  checkHashes([fromRoot, toRoot, ...proof]);
  if (from === to) return proof.length === 0 ? same(fromRoot, toRoot) : refuse('proof', 'too long');
  let [fn, sn] = [BigInt(from - 1), BigInt(to - 1)];
  while (fn & 1n) [fn, sn] = [fn >> 1n, sn >> 1n];
  // A full left subtree is its own starting point, so the proof leaves its hash out (fn reached 0).
  const path = fn === 0n ? [fromRoot, ...proof] : proof;
  if (path.length === 0) refuse('proof', 'too short');
  let [fr, sr] = [path[0], path[0]];
  climb(fn, sn, path.slice(1), (h) => { fr = node(h, fr); sr = node(h, sr); }, (h) => { sr = node(sr, h); });
  same(fr, fromRoot);
  return same(sr, toRoot);
}
