// The cases made with RSA, whose bytes differ on every run: signatures and wrapped DEKs.
// A `why` starts with the expected class ("ok: …", "signature: …"), and the builder holds the case to it.
import crypto from 'node:crypto';
import { dekOf, idOf } from './cases_fixed.mjs';
import {
  flipBit, respellTrailingBits, signByHand, signPkcs1, signPss, wrapByHand, wrapOaep, wrapPkcs1,
} from './forge.mjs';
import { CONTEXTS, decodeBase64, digest, sign, signedBytes, wrap } from './profile.mjs';

const b64 = (bytes) => bytes.toString('base64');
const MAX = 2 ** 53 - 1;
const VAULT = idOf('vault a');

// ---- payloads, as full as real ones -----------------------------------------------------------------------

const summaryItem = (name, type, websites = [], groupId = null) =>
  ({ id: idOf(`summary ${name}`), name, type, websites, groupId });
const SUMMARY = {
  vaultId: VAULT, version: 7, name: 'Production', dataClassification: 'CONFIDENTIAL', currentDekVersion: 2,
  items: [
    summaryItem('Production DB', 'DATABASE', ['https://db.example.com', 'https://replica.example.com:5432/admin']),
    summaryItem('AWS Credentials', 'API_KEY', ['https://console.example.com/?a=1&b=2#top'], idOf('group a')),
    summaryItem('my-redis-cache', 'SERVER'),
    summaryItem('Ключ "главный" 密码 \u{1f511}', 'LOGIN', ['https://пример.example/путь']),
    summaryItem('caf\u00e9 \\ cafe\u0301', 'SECURE_NOTE'),
  ],
  groups: [],
};
const NEW_VAULT = {
  vaultId: idOf('vault b'), version: 1, name: 'Empty', dataClassification: null, currentDekVersion: 1, items: [],
  groups: [],
};
const LAST_VERSION = { ...SUMMARY, version: MAX, currentDekVersion: MAX, dataClassification: 'CUI' };
const field = (name, type, order, instances, assets = []) => ({
  id: idOf(`field ${name}`), name, type, order,
  fieldInstanceIds: instances.map((n) => idOf(`instance ${name} ${n}`)), assetIds: assets.map(idOf),
});
const DETAIL = {
  vaultItemId: idOf('summary Production DB'), vaultId: VAULT, version: 3, name: 'Production DB', type: 'DATABASE',
  websites: ['https://db.example.com', 'https://replica.example.com:5432/admin'], groupId: null,
  fields: [
    field('Username', 'TEXT', 0, [1]), field('Password', 'PASSWORD', 1, [1, 2, 3]),
    field('One-time code', 'TOTP', 2, [1]), field('Порт \u{1f50c}', 'NUMBER', 3, [1]),
    field('CA bundle', 'FILE', 4, [], ['asset a', 'asset b']),
  ],
};
const BARE_DETAIL = {
  vaultItemId: idOf('summary my-redis-cache'), vaultId: VAULT, version: 1, name: 'my-redis-cache', type: 'SERVER',
  websites: [], groupId: idOf('group a'), fields: [],
};
const rotation = (from, to) =>
  ({ encryptionKeyId: to.id, fingerprint: to.fingerprint, previousEncryptionKeyId: from.id });

/** A wrapped-key entry before it is signed; a person and an agent name themselves under different keys. */
function unsignedEntry(recipient, signerName, signer, wrappedDek, dekVersion = 2) {
  const who = signerName === 'human'
    ? { signerUserKeyPairId: signer.id, signerType: 'USER_KEY_PAIR' }
    : { signerEncryptionKeyId: signer.id, signerType: 'AGENT_ENCRYPTION_KEY' };
  return { vaultId: VAULT, encryptionKeyId: recipient.id, ...who, dekVersion, wrappedDek };
}

// ---- signatures -------------------------------------------------------------------------------------------

export function signatureCases(keys) {
  const { human, agent, successor, stranger } = keys;
  const row = (name, kind, payload, key, signature, why) => ({
    name, kind, context: CONTEXTS[kind], payload, digest: digest(CONTEXTS[kind], payload), key, signature,
    valid: why.startsWith('ok:'), why,
  });
  const good = (name, kind, payload, key) =>
    row(name, kind, payload, key, sign(keys[key].privateKey, CONTEXTS[kind], payload), `ok: signed by ${key}`);
  // Negative cases rest on the 2048-bit key: its 256 bytes leave trailing bits in base64 to tamper with.
  const message = signedBytes(CONTEXTS.summary, SUMMARY);
  const honest = (kind = 'summary', payload = SUMMARY) => sign(human.privateKey, CONTEXTS[kind], payload);
  const bad = (name, why, signature, payload = SUMMARY, key = 'human', kind = 'summary') =>
    row(name, kind, payload, key, Buffer.isBuffer(signature) ? b64(signature) : signature, `signature: ${why}`);
  const misspelled = (name, why, change) =>
    row(name, 'summary', SUMMARY, 'human', change(honest()), `malformed: ${why}`);
  const changed = (name, why, payload, kind = 'summary', signed = SUMMARY) =>
    bad(name, why, honest(kind, signed), payload, 'human', kind);
  const pss = (hash, salt) => signPss(human.privateKey, message, hash, salt);
  const cut = (from, to) => decodeBase64(honest(), 'signature').subarray(from, to);
  const forAgent = unsignedEntry(agent, 'human', human, wrap(agent.publicKey, dekOf('signatures')));
  const forItself = unsignedEntry(agent, 'agent', agent, wrap(agent.publicKey, dekOf('signatures')), 1);
  const renamed = (payload, name) => ({ ...payload, name });
  return [
    good('summary, several items, by a human', 'summary', SUMMARY, 'human'),
    good('summary, several items, by an agent', 'summary', SUMMARY, 'agent'),
    good('summary of a new vault, by an agent', 'summary', NEW_VAULT, 'agent'),
    good('summary of a new vault, by a human', 'summary', NEW_VAULT, 'human'),
    good('summary at the last version, 4096 bits', 'summary', LAST_VERSION, 'stranger'),
    good('detail, all kinds of fields, by a human', 'detail', DETAIL, 'human'),
    good('detail, all kinds of fields, by an agent', 'detail', DETAIL, 'agent'),
    good('detail without fields, by an agent', 'detail', BARE_DETAIL, 'agent'),
    good('detail without fields, by a human', 'detail', BARE_DETAIL, 'human'),
    good('wrapped DEK for an agent, by a human', 'wrapped-dek', forAgent, 'human'),
    good('wrapped DEK for itself, by an agent', 'wrapped-dek', forItself, 'agent'),
    good('rotation, agent to successor', 'key-rotation', rotation(agent, successor), 'agent'),
    good('rotation, successor to stranger', 'key-rotation', rotation(successor, stranger), 'successor'),
    good('rotation of a human', 'key-rotation', rotation(human, stranger), 'human'),
    ...[0, 20, 31, 33].map((salt) =>
      bad(`salt of ${salt} bytes`, 'salt length is not exactly 32', pss('sha256', salt))),
    bad('salt as long as fits', 'salt length is not exactly 32',
      pss('sha256', crypto.constants.RSA_PSS_SALTLEN_MAX_SIGN)),
    ...['sha1', 'sha384', 'sha512'].map((hash) => bad(`hash ${hash}`, 'hash is not SHA-256', pss(hash, 32))),
    ...['sha1', 'sha512'].map((mgf) => bad(`MGF1 with ${mgf}`, 'MGF1 hash is not SHA-256, everything else is right',
      signByHand(human.privateKey, message, { mgf }))),
    bad('another trailer byte', 'the encoded message does not end in BC',
      signByHand(human.privateKey, message, { trailer: 0xcc })),
    bad('PKCS1 v1.5', 'another scheme', signPkcs1(human.privateKey, message)),
    bad('signed without a context', 'only JCS was signed',
      signPss(human.privateKey, message.subarray(CONTEXTS.summary.length + 1), 'sha256', 32)),
    bad('context not set off by a newline', 'the separator is missing', signPss(human.privateKey, Buffer.concat([
      Buffer.from(CONTEXTS.summary), message.subarray(CONTEXTS.summary.length + 1)]), 'sha256', 32)),
    bad('JSON in writing order', 'what was signed is not canonical', signPss(human.privateKey,
      Buffer.from(`${CONTEXTS.summary}\n${JSON.stringify(SUMMARY)}`), 'sha256', 32)),
    bad('digest signed as the message', 'hashed once too often', signPss(human.privateKey,
      Buffer.from(digest(CONTEXTS.summary, SUMMARY), 'hex'), 'sha256', 32)),
    bad('detail signed as summary', 'context differs', honest('summary', DETAIL), DETAIL, 'human', 'detail'),
    bad('summary signed as detail', 'context differs', honest('detail', SUMMARY)),
    bad('rotation signed as wrapped DEK', 'context differs', honest('wrapped-dek', rotation(human, stranger)),
      rotation(human, stranger), 'human', 'key-rotation'),
    bad('signed by another key of the same size', 'wrong key',
      sign(successor.privateKey, CONTEXTS.summary, SUMMARY)),
    bad('signed by a larger key', 'wrong key', sign(stranger.privateKey, CONTEXTS.summary, SUMMARY)),
    bad('judged by a larger key', 'wrong key', honest(), SUMMARY, 'agent'),
    changed('one letter of the name', 'payload changed', renamed(SUMMARY, 'Productiom')),
    changed('version plus one', 'payload changed', { ...SUMMARY, version: 8 }),
    changed('classification null', 'payload changed', { ...SUMMARY, dataClassification: null }),
    changed('items exchanged', 'order of items counts', { ...SUMMARY, items: SUMMARY.items.toReversed() }),
    changed('item left out', 'payload changed', { ...SUMMARY, items: SUMMARY.items.slice(1) }),
    changed('name normalised', 'composed is not decomposed', { ...SUMMARY,
      items: SUMMARY.items.map((item) => renamed(item, item.name.normalize('NFC'))) }),
    changed('one letter of a field name', 'payload changed', { ...DETAIL,
      fields: DETAIL.fields.map((f, i) => (i ? f : renamed(f, 'Usernane'))) }, 'detail', DETAIL),
    changed('field instances exchanged', 'the last instance is the value', { ...DETAIL, fields: DETAIL.fields.map(
      (f) => ({ ...f, fieldInstanceIds: f.fieldInstanceIds.toReversed() })) }, 'detail', DETAIL),
    changed('DEK version plus one', 'payload changed', { ...forAgent, dekVersion: 3 }, 'wrapped-dek', forAgent),
    changed('rotation to another fingerprint', 'payload changed',
      { ...rotation(human, stranger), fingerprint: agent.fingerprint }, 'key-rotation', rotation(human, stranger)),
    bad('last byte missing', 'truncated', cut(0, 255)),
    bad('first byte missing', 'truncated', cut(1, 256)),
    bad('half', 'truncated', cut(0, 128)),
    bad('empty', 'no bytes at all', ''),
    bad('trailing byte', 'a byte too many', Buffer.concat([cut(0, 256), Buffer.of(0)])),
    bad('leading zero byte', 'a byte too many', Buffer.concat([Buffer.of(0), cut(0, 256)])),
    bad('all zero', 'zero is nobody\'s signature', Buffer.alloc(256)),
    bad('bit flipped', 'one bit changed', flipBit(cut(0, 256), 100)),
    misspelled('base64 with trailing bits', 'ignored bits are set', respellTrailingBits),
    misspelled('base64 without padding', 'padding is missing', (text) => text.replaceAll('=', '')),
    misspelled('base64 with more padding', 'padding too many', (text) => `${text}=`),
    misspelled('base64 of the URL alphabet', 'another alphabet', (text) =>
      text.replaceAll('+', '-').replaceAll('/', '_')),
    misspelled('base64 with a newline inside', 'whitespace', (text) => `${text.slice(0, 76)}\n${text.slice(76)}`),
    misspelled('base64 with a trailing newline', 'whitespace', (text) => `${text}\n`),
  ];
}

// ---- wraps ------------------------------------------------------------------------------------------------

export function wrapCases(keys) {
  const { human, agent, successor, stranger } = keys;
  const context = CONTEXTS['wrapped-dek'];
  const row = (name, why, options) => {
    const { key = 'agent', signedBy = 'human', to = keys[key], bytes, dek = dekOf(name), after = {} } = options;
    const wrappedDek = bytes ? b64(bytes) : wrap(to.publicKey, dek);
    const unsigned = unsignedEntry(to, signedBy, keys[signedBy], wrappedDek);
    const wrappedDekSignature = sign(keys[signedBy].privateKey, context, unsigned);
    const expected = why.split(':')[0];
    return { name, key, dekHex: dek.toString('hex'), entry: { ...unsigned, wrappedDekSignature, ...after }, signedBy,
      valid: expected === 'ok', why, expected };
  };
  const honest = (dek, to = agent) => decodeBase64(wrap(to.publicKey, dek), 'wrappedDek');
  const damaged = (name, why, make, dek = dekOf(name)) =>
    row(name, `damaged: correctly signed and named for us, but ${why}`, { bytes: make(dek), dek });
  /** `after` is what someone without the signer's key did to a good entry. */
  const tampered = (name, why, after, more = {}) => row(name, `signature: ${why}`, { after, ...more });
  const dek33 = Buffer.concat([dekOf('long'), Buffer.of(7)]);
  return [
    row('2048 bits, by a human', 'ok: opens', { key: 'successor' }),
    row('3072 bits, by a human', 'ok: opens', {}),
    row('4096 bits, by a human', 'ok: opens', { key: 'stranger' }),
    row('3072 bits, by the agent for itself', 'ok: opens', { signedBy: 'agent' }),
    row('2048 bits, by the successor for itself', 'ok: opens', { key: 'successor', signedBy: 'successor' }),
    row('DEK of leading and trailing zeros', 'ok: opens with its zeros', {
      dek: Buffer.concat([Buffer.alloc(8), dekOf('zeros').subarray(0, 16), Buffer.alloc(8)]) }),
    row('wrapped to another agent', 'not_mine: names another key', { to: stranger }),
    row('wrapped to the key before ours', 'not_mine: names the retired key', { key: 'successor', to: agent }),
    row('names another key, though ours would open it', 'not_mine: the id decides, not a trial decryption',
      { to: stranger, bytes: honest(dekOf('names another key, though ours would open it')) }),
    // Both keys have 2048 bits: the length of the ciphertext tells nothing.
    row('sealed to another key under our id', 'damaged: correctly signed and named for us, but not ours to open',
      { key: 'successor', bytes: honest(dekOf('sealed to another key under our id'), human) }),
    damaged('first bit flipped', 'the ciphertext changed', (dek) => flipBit(honest(dek), 0)),
    damaged('middle bit flipped', 'the ciphertext changed', (dek) => flipBit(honest(dek), 200)),
    damaged('last bit flipped', 'the ciphertext changed', (dek) => flipBit(honest(dek), 383)),
    damaged('truncated', 'the last byte is missing', (dek) => honest(dek).subarray(0, 383)),
    damaged('trailing byte', 'a byte too many', (dek) => Buffer.concat([honest(dek), Buffer.of(0)])),
    damaged('OAEP with SHA-1', 'hash is SHA-1', (dek) => wrapOaep(agent.publicKey, dek, 'sha1')),
    damaged('OAEP with SHA-512', 'hash is SHA-512', (dek) => wrapOaep(agent.publicKey, dek, 'sha512')),
    damaged('OAEP with MGF1-SHA-1', 'only the MGF1 hash is SHA-1, as Java does by default', (dek) =>
      wrapByHand(agent.publicKey, dek, { mgf: 'sha1' })),
    damaged('OAEP with a label', 'the label is not empty', (dek) =>
      wrapOaep(agent.publicKey, dek, 'sha256', Buffer.from(VAULT))),
    damaged('PKCS1 v1.5', 'another padding', (dek) => wrapPkcs1(agent.publicKey, dek)),
    damaged('DEK of 31 bytes', 'it opens to 31 bytes', honest, dekOf('short').subarray(0, 31)),
    damaged('DEK of 33 bytes', 'it opens to 33 bytes', honest, dek33),
    damaged('DEK as hex text', 'it opens to 64 bytes', honest, Buffer.from(dekOf('text').toString('hex'))),
    tampered('DEK version raised', 'dekVersion is signed', { dekVersion: 3 }),
    tampered('moved to another vault', 'vaultId is signed', { vaultId: idOf('vault b') }),
    tampered('readdressed to us', 'encryptionKeyId is signed', { encryptionKeyId: agent.id }, { to: stranger }),
    tampered('ciphertext replaced', 'wrappedDek is signed', { wrappedDek: wrap(agent.publicKey, dekOf('planted')) }),
    tampered('signer id replaced', 'the signer id is signed', { signerUserKeyPairId: idOf('someone') }),
    tampered('signed by a stranger', 'not made by the key it names', { wrappedDekSignature: sign(stranger.privateKey,
      context, unsignedEntry(agent, 'human', human, wrap(agent.publicKey, dekOf('planted')))) }),
    tampered('signature emptied', 'no bytes at all', { wrappedDekSignature: '' }),
    tampered('signature of another entry', 'a good signature over something else', { wrappedDekSignature:
      sign(human.privateKey, context, unsignedEntry(successor, 'human', human, wrap(successor.publicKey, dek33))) }),
    tampered('signature of zeros', 'zero is nobody\'s signature', { wrappedDekSignature: b64(Buffer.alloc(256)) }),
  ];
}
