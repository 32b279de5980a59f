// The cases whose bytes are the same on every run: canonical JSON, envelopes, the signer log.
// A `why` starts with the expected class ("ok: …", "malformed: …"), and the builder holds the case to it.
import { flipBit, respellTrailingBits, sealAny } from './forge.mjs';
import { consistencyProof, decodeBase64, hashLeaf, inclusionProof, jcs, root, seal, sha256 } from './profile.mjs';

/** Ids, ivs and DEKs come from names: fixed, distinct, and nobody's. */
const derive = (what, name) => sha256(Buffer.from(`r4 test vector\n${what}\n${name}`));
export const idOf = (name) => derive('id', name).toString('hex').slice(0, 24);
export const dekOf = (name) => derive('dek', name);
const ivOf = (name) => derive('iv', name).subarray(0, 12);

// ---- jcs --------------------------------------------------------------------------------------------------

export function jcsCases() {
  const row = (name, value) => ({ name, value, canonicalHex: Buffer.from(jcs(value)).toString('hex') });
  const everyControl = Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code)).join('');
  return [
    row('empty object', {}),
    row('empty array', []),
    row('empty string', ''),
    row('literals', [null, true, false]),
    row('empty things inside things', { a: {}, b: [], c: [[], [{}], ''], '': null }),
    row('nested arrays keep their order', [[3, [2, [1, [0, []]]]], [['b'], ['a']]]),
    row('nested objects are sorted at each level', { z: { b: 1, a: { d: 1, c: 2 } }, a: [{ y: 1, x: 2 }] }),
    row('largest integer', 2 ** 53 - 1),
    row('smallest integer', -(2 ** 53 - 1)),
    row('integers are plain digits', [0, 1, -1, 10, 1000000, 1e15, 123456789012345]),
    row('keys that look like numbers sort as text', { 10: 'c', 9: 'd', 1: 'b', '-1': 'a', '01': 'e' }),
    row('upper case before underscore before lower case', { a: 1, _: 2, Z: 3, aB: 4, ab: 5, A: 6 }),
    row('a prefix sorts first', { abc: 3, ab: 2, a: 1, '': 0 }),
    // UTF-16 order puts U+1F600 (D83D DE00) before U+FB33; code points and UTF-8 bytes put it after.
    row('astral keys sort before the end of the BMP', { '\ufb33': 'bmp', '\u{1f600}': 'astral', '\ud7ff': 'low' }),
    row('astral keys among themselves', { '\u{10ffff}': 2, '\u{10000}': 1, '\uffff': 4, '\ue000': 3 }),
    row('sorting example of RFC 8785 section 3.2.3', {
      '\u20ac': 'Euro Sign', '\r': 'Carriage Return', '\ufb33': 'Hebrew Letter Dalet With Dagesh', 1: 'One',
      '\u{1f600}': 'Emoji: Grinning Face', '\u0080': 'Control', '\u00f6': 'Latin Small Letter O With Diaeresis',
    }),
    row('every control character', everyControl),
    row('control characters in keys', { '\u001f': 5, '\n': 3, '\u0000': 1, '\t': 2, '\u000b': 4, '\u007f': 6 }),
    row('only quote and backslash are escaped', '"\\/\'<>&'),
    row('delete, C1 and the line separators stay raw', '\u007f\u0080\u009f\u2028\u2029\u00ad\u200d'),
    row('byte order mark and noncharacters stay raw', '\ufeff\ufffe\uffff\ufffd'),
    row('nothing is normalised', { '\u00e9': 'composed', 'e\u0301': 'decomposed', '\u212b': 'angstrom sign' }),
    row('right to left, joiners and emoji', ['\u05e9\u05dc\u05d5\u05dd', '\u0645\u0631\u062d\u0628\u0627',
      '\u{1f469}\u200d\u{1f4bb}', '\u202eabc']),
    row('text that looks like escapes', ['\\u0041', '\\n', '\u0041']),
  ];
}

// ---- envelopes --------------------------------------------------------------------------------------------

const IDS = {
  vaultId: idOf('vault a'), vaultItemId: idOf('item a'), fieldId: idOf('field a'),
  fieldInstanceId: idOf('instance a'),
};
const SHORT = 'correct horse battery staple!?'; // 30 bytes: "d" needs no padding
const PADDED = 'correct horse battery staple'; // 28 bytes: "d" ends in "=="

export function envelopeCases() {
  const dek = dekOf('envelopes');
  const row = (name, plaintext, iv, envelope, why, changed = {}) => ({
    name, dekHex: dek.toString('hex'), ...IDS, plaintext, ivHex: iv.toString('hex'), envelope,
    valid: why.startsWith('ok:'), why, ...changed,
  });
  const good = (name, plaintext, why, ids = IDS) =>
    row(name, plaintext, ivOf(name), seal(dek, ids, plaintext, ivOf(name)), `ok: ${why}`, ids);
  /** A correctly sealed value whose spelling is then changed. */
  const spelled = (name, change, why, text = SHORT) =>
    row(name, null, ivOf(name), change(seal(dek, IDS, text, ivOf(name))), `malformed: ${why}`);
  const swap = (from, to) => (envelope) => {
    if (envelope.replace(from, to) === envelope) throw new Error(`nothing to change for ${from}`);
    return envelope.replace(from, to);
  };
  const inPart = (key, change) => (envelope) =>
    swap(new RegExp(`"${key}":"([^"]*)"`), (_, text) => `"${key}":"${change(text)}"`)(envelope);
  const flipped = (key) => inPart(key, (text) => flipBit(decodeBase64(text, key), 5).toString('base64'));
  const sealedWith = (name, ivBytes, tagBytes, why) => {
    const iv = derive('iv', name).subarray(0, ivBytes);
    return row(name, null, iv, sealAny(dek, IDS, Buffer.from(SHORT), iv, tagBytes), `malformed: ${why}`);
  };
  const unopened = (name, why, changed = {}, change = (envelope) => envelope) =>
    row(name, null, ivOf(name), change(seal(dek, IDS, SHORT, ivOf(name))), `damaged: ${why}`, changed);
  const notText = (name, hex, why) =>
    row(name, null, ivOf(name), sealAny(dek, IDS, Buffer.from(hex, 'hex'), ivOf(name)), `damaged: ${why}`);
  const urlsafe = (text) => text.replaceAll('+', '-').replaceAll('/', '_');
  return [
    good('empty string', '', '"d" is empty, the tag is not'),
    good('ascii', SHORT, 'plain text'),
    good('padded ciphertext', PADDED, '"d" ends in two equals signs'),
    good('unicode and astral', 'pässwörd ключ 密码 \u{1f511}\u{1f469}\u200d\u{1f4bb} e\u0301',
      'UTF-8, not normalised'),
    good('newlines and quotes', 'line "one"\r\nline \\two\\\n\ttab\n', 'nothing is trimmed or unescaped'),
    good('leading byte order mark and NUL', '\ufeffvalue\u0000\uffff', 'U+FEFF and U+0000 belong to the value'),
    good('json inside', '{"v":3,"iv":"","t":"","d":""}', 'a value is never parsed'),
    good('64 KB', '0123456789abcdef'.repeat(4096), '65536 bytes'),
    good('other ids', SHORT, 'the same text elsewhere', {
      vaultId: idOf('vault b'), vaultItemId: idOf('item b'), fieldId: idOf('field b'),
      fieldInstanceId: idOf('instance b'),
    }),
    spelled('version 2', swap('"v":3', '"v":2'), 'another version'),
    spelled('version as text', swap('"v":3', '"v":"3"'), 'version is not a number'),
    spelled('version as float', swap('"v":3', '"v":3.0'), 'version is a float, though equal to 3'),
    spelled('version true', swap('"v":3', '"v":true'), 'version is a boolean'),
    sealedWith('iv of 11 bytes', 11, 16, 'sealed correctly under a short iv'),
    sealedWith('iv of 13 bytes', 13, 16, 'sealed correctly under a long iv'),
    sealedWith('iv of 16 bytes', 16, 16, 'sealed correctly under a long iv'),
    sealedWith('tag of 12 bytes', 12, 12, 'a truncated tag that lenient libraries verify'),
    sealedWith('tag of 15 bytes', 12, 15, 'a truncated tag that lenient libraries verify'),
    spelled('tag of 17 bytes', inPart('t', (t) => Buffer.concat([decodeBase64(t, 't'), Buffer.of(0)])
      .toString('base64')), 'a byte after the tag'),
    spelled('no v', swap('"v":3,', ''), 'a key is missing'),
    spelled('no iv', swap(/"iv":"[^"]*",/, ''), 'a key is missing'),
    spelled('no t', swap(/"t":"[^"]*",/, ''), 'a key is missing'),
    spelled('no d', swap(/,"d":"[^"]*"/, ''), 'a key is missing'),
    spelled('unknown key', swap(/\}$/, ',"x":""}'), 'a key too many'),
    spelled('duplicate d', swap(/,("d":"[^"]*")/, ',$1,$1'), 'a key twice, with the same value'),
    spelled('duplicate v', swap('"v":3', '"v":2,"v":3'), 'a key twice, the last one right'),
    spelled('keys in another order', swap(/("iv":"[^"]*"),("t":"[^"]*")/, '$2,$1'), 'not the one spelling'),
    spelled('space inside', swap('"v":3,', '"v": 3, '), 'not the one spelling'),
    spelled('escape inside', swap('"iv"', '"\\u0069v"'), 'a key spelled with an escape'),
    spelled('iv null', swap(/"iv":"[^"]*"/, '"iv":null'), 'iv is not text'),
    spelled('an array', (envelope) => `[${envelope}]`, 'not an object'),
    spelled('empty text', () => '', 'no envelope at all'),
    spelled('cut short', (envelope) => envelope.slice(0, -1), 'the last brace is missing'),
    spelled('unpadded tag', inPart('t', (t) => t.replace('==', '')), 'base64 without its padding'),
    spelled('unpadded ciphertext', inPart('d', (d) => d.replace('==', '')), 'base64 without its padding', PADDED),
    // Long, so that the ciphertext surely holds a + or a /.
    spelled('urlsafe ciphertext', inPart('d', urlsafe), 'the URL alphabet', SHORT.repeat(20)),
    spelled('trailing bits in tag', inPart('t', respellTrailingBits), 'ignored bits are set'),
    spelled('trailing bits in ciphertext', inPart('d', respellTrailingBits), 'ignored bits are set', PADDED),
    spelled('newline in base64', inPart('d', (d) => `${d.slice(0, 8)}\\n${d.slice(8)}`), 'whitespace in base64'),
    spelled('trailing space', (envelope) => `${envelope} `, 'whitespace after the envelope'),
    spelled('trailing newline', (envelope) => `${envelope}\n`, 'a newline, which $ in some languages lets by'),
    spelled('leading space', (envelope) => ` ${envelope}`, 'whitespace before the envelope'),
    spelled('leading byte order mark', (envelope) => `\ufeff${envelope}`, 'U+FEFF before the envelope'),
    spelled('trailing envelope', (envelope) => envelope + envelope, 'something after the envelope'),
    unopened('another DEK', 'sealed under another DEK', { dekHex: dekOf('another').toString('hex') }),
    unopened('moved to another vault', 'vaultId is bound', { vaultId: idOf('vault b') }),
    unopened('moved to another item', 'vaultItemId is bound', { vaultItemId: idOf('item b') }),
    unopened('moved to another field', 'fieldId is bound', { fieldId: idOf('field b') }),
    unopened('moved to another instance', 'fieldInstanceId is bound', { fieldInstanceId: idOf('instance b') }),
    unopened('field and instance ids exchanged', 'ids are bound by name',
      { fieldId: IDS.fieldInstanceId, fieldInstanceId: IDS.fieldId }),
    unopened('bit flipped in iv', 'iv changed', {}, flipped('iv')),
    unopened('bit flipped in tag', 'tag changed', {}, flipped('t')),
    unopened('bit flipped in ciphertext', 'ciphertext changed', {}, flipped('d')),
    unopened('ciphertext emptied', 'ciphertext cut to nothing', {}, inPart('d', () => '')),
    notText('not UTF-8: lone continuation byte', '6180', 'authentic bytes that are not text'),
    notText('not UTF-8: overlong slash', 'c0af', 'authentic bytes that are not text'),
    notText('not UTF-8: encoded surrogate', 'eda080', 'authentic bytes that are not text'),
    notText('not UTF-8: cut short', 'e282', 'authentic bytes that are not text'),
  ];
}

// ---- merkle -----------------------------------------------------------------------------------------------

export function merkleSection(keys) {
  const known = Object.keys(keys);
  const previousOf = (i) => {
    if (known[i] === 'successor') return keys.agent.id;
    return i >= 6 && i % 3 === 0 ? idOf(`signer ${i - 1}`) : null;
  };
  const leaves = Array.from({ length: 13 }, (_, i) => {
    const key = keys[known[i]];
    // The first leaves are the vectors' own keys; the rest are nobody's, only hashes of their names.
    return {
      fingerprint: key?.fingerprint ?? derive('fingerprint', i).toString('hex'),
      id: key?.id ?? idOf(`signer ${i}`),
      // `successor` follows `agent`; from 6 on, each third leaf follows the one before it.
      previousId: previousOf(i),
      signerType: known[i] === 'human' || (!key && i % 3 === 1) ? 'USER_KEY_PAIR' : 'AGENT_ENCRYPTION_KEY',
      vaultId: IDS.vaultId,
    };
  });
  const hashes = leaves.map(hashLeaf);
  const base64 = (proof) => proof.map((hash) => hash.toString('base64'));
  const sizes = Array.from({ length: hashes.length }, (_, i) => i + 1);
  return {
    leaves,
    leafHashes: hashes.map((hash) => hash.toString('hex')),
    roots: [0, ...sizes].map((size) => root(hashes.slice(0, size)).toString('hex')),
    inclusion: sizes.flatMap((treeSize) => hashes.slice(0, treeSize).map((_, leafIndex) => (
      { leafIndex, treeSize, proof: base64(inclusionProof(hashes.slice(0, treeSize), leafIndex)) }))),
    consistency: sizes.flatMap((toTreeSize) => sizes.slice(0, toTreeSize).map((fromTreeSize) => (
      { fromTreeSize, toTreeSize, proof: base64(consistencyProof(hashes.slice(0, toTreeSize), fromTreeSize)) }))),
  };
}
