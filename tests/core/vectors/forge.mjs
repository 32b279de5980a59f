// What no honest writer of the profile emits: signatures, wraps and envelopes with one parameter wrong.
// Only the vector builder uses it.
//
// Node can't be asked for an MGF1 hash apart from the main one, and refuses bad sizes. So RSA padding is done by
// hand here (RFC 8017 sections 7.1.1, 9.1.1, B.2.1) over the raw RSA operation, and `checkForger` proves with
// the honest parameters that the hand is steady: a forgery must fail for its one wrong parameter only.
import crypto from 'node:crypto';
import { DEK_BYTES, aad, signedBytes, spellEnvelope, unwrap, verify } from './profile.mjs';

const { RSA_NO_PADDING, RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, RSA_PKCS1_OAEP_PADDING } = crypto.constants;
const hashOf = (hash, ...parts) => crypto.createHash(hash).update(Buffer.concat(parts)).digest();
const xor = (a, b) => Buffer.from(a.map((byte, i) => byte ^ b[i]));
const bytesOf = (key) => key.asymmetricKeyDetails.modulusLength / 8;

function mgf1(hash, seed, length) {
  const blocks = [];
  for (let i = 0; blocks.length * hashOf(hash).length < length; i += 1) {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(i);
    blocks.push(hashOf(hash, seed, counter));
  }
  return Buffer.concat(blocks).subarray(0, length);
}

/** Sign with PSS padding made by hand: any MGF1 hash, any trailer byte. */
export function signByHand(privateKey, message, { mgf = 'sha256', trailer = 0xbc } = {}) {
  const salt = crypto.randomBytes(32);
  const h = hashOf('sha256', Buffer.alloc(8), hashOf('sha256', message), salt);
  const length = bytesOf(privateKey) - h.length - 1;
  const db = Buffer.concat([Buffer.alloc(length - salt.length - 1), Buffer.of(1), salt]);
  const masked = xor(db, mgf1(mgf, h, length));
  masked[0] &= 0x7f; // the encoded message has one bit less than the modulus
  const encoded = Buffer.concat([masked, h, Buffer.of(trailer)]);
  return crypto.privateEncrypt({ key: privateKey, padding: RSA_NO_PADDING }, encoded);
}

export const signPss = (privateKey, message, hash, saltLength) =>
  crypto.sign(hash, message, { key: privateKey, padding: RSA_PKCS1_PSS_PADDING, saltLength });

export const signPkcs1 = (privateKey, message) =>
  crypto.sign('sha256', message, { key: privateKey, padding: RSA_PKCS1_PADDING });

/** Encrypt with OAEP padding made by hand: the MGF1 hash apart from the label hash. */
export function wrapByHand(publicKey, dek, { mgf = 'sha256' } = {}) {
  const seed = crypto.randomBytes(32);
  const fill = Buffer.alloc(bytesOf(publicKey) - dek.length - 2 * seed.length - 2);
  const db = Buffer.concat([hashOf('sha256'), fill, Buffer.of(1), dek]);
  const maskedDb = xor(db, mgf1(mgf, seed, db.length));
  const maskedSeed = xor(seed, mgf1(mgf, maskedDb, seed.length));
  const encoded = Buffer.concat([Buffer.of(0), maskedSeed, maskedDb]);
  return crypto.publicEncrypt({ key: publicKey, padding: RSA_NO_PADDING }, encoded);
}

export const wrapOaep = (publicKey, dek, oaepHash, label) =>
  crypto.publicEncrypt({ key: publicKey, padding: RSA_PKCS1_OAEP_PADDING, oaepHash, oaepLabel: label }, dek);

export const wrapPkcs1 = (publicKey, dek) =>
  crypto.publicEncrypt({ key: publicKey, padding: RSA_PKCS1_PADDING }, dek);

/** Seal raw bytes under any iv and tag length: correct AES-GCM that only a length check can refuse. */
export function sealAny(dek, ids, plain, iv, tagBytes = 16) {
  const cipher = crypto.createCipheriv('aes-256-gcm', dek, iv, { authTagLength: tagBytes }).setAAD(aad(ids));
  const ciphertext = Buffer.concat([cipher.update(plain), cipher.final()]);
  return spellEnvelope(iv, cipher.getAuthTag(), ciphertext);
}

/** The same bytes spelled with other, ignored trailing bits: kind decoders read both alike. */
export function respellTrailingBits(text) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const at = text.indexOf('=') - 1;
  if (at < 0) throw new Error('no padding, so no trailing bits');
  return text.slice(0, at) + alphabet[alphabet.indexOf(text[at]) + 1] + text.slice(at + 1);
}

export function flipBit(bytes, index) {
  const copy = Buffer.from(bytes);
  copy[index] ^= 1;
  return copy;
}

/** Throw unless hand-made padding with honest parameters is accepted by the library. */
export function checkForger(privateKey, publicKey, context) {
  const payload = { proves: 'the hand is steady' };
  verify(publicKey, context, payload, signByHand(privateKey, signedBytes(context, payload)).toString('base64'));
  const dek = crypto.randomBytes(DEK_BYTES);
  if (!unwrap(privateKey, wrapByHand(publicKey, dek).toString('base64')).equals(dek)) {
    throw new Error('hand-made OAEP opened to another DEK');
  }
}
