/**
 * The part of the Protocol Buffers wire format that ONNX files use: varints, 32-bit floats, and length-delimited fields. Written out by
 * hand because it is small, and because models are read where nothing may be imported.
 */

/** A file that is not what it should be. The message says what is wrong with it, for the log and for `maestro doctor`. */
export class ModelFormatError extends Error {
  override readonly name = 'ModelFormatError';
}

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** Collects the fields of one message. */
export class ProtoWriter {
  private bytes = new Uint8Array(256);
  private length = 0;

  /** A non-negative integer. */
  integer(field: number, value: number): this {
    this.varint(field * 8 + VARINT);
    this.varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.varint(field * 8 + FIXED32);
    this.append(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }

  text(field: number, value: string): this {
    return this.raw(field, encoder.encode(value));
  }

  message(field: number, value: ProtoWriter): this {
    return this.raw(field, value.finish());
  }

  packedIntegers(field: number, values: Iterable<number>): this {
    const packed = new ProtoWriter();
    for (const value of values) packed.varint(value);
    return this.raw(field, packed.finish());
  }

  packedFloats(field: number, values: ArrayLike<number>): this {
    // Typed arrays are little-endian on every platform that Node runs on, as the wire format is.
    return this.raw(field, new Uint8Array(Float32Array.from(values).buffer));
  }

  raw(field: number, value: Uint8Array): this {
    this.varint(field * 8 + DELIMITED);
    this.varint(value.length);
    this.append(value);
    return this;
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  private varint(value: number): void {
    this.reserve(10);
    let rest = value;
    while (rest >= 0x80) {
      this.bytes[this.length++] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.bytes[this.length++] = rest;
  }

  private append(chunk: Uint8Array): void {
    this.reserve(chunk.length);
    this.bytes.set(chunk, this.length);
    this.length += chunk.length;
  }

  private reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}

/** One field of a message: a number (varint), or bytes (everything else). */
export interface ProtoField {
  readonly number: number;
  readonly wire: number;
  readonly integer: number;
  readonly bytes: Uint8Array;
}

const NO_BYTES = new Uint8Array(0);

/** The fields of a message, in the order of the file. Throws {@link ModelFormatError} for bytes that are no message. */
export function readFields(message: Uint8Array): ProtoField[] {
  const fields: ProtoField[] = [];
  const cursor = { at: 0 };
  while (cursor.at < message.length) {
    const key = readVarint(message, cursor);
    const number = Math.floor(key / 8);
    const wire = key % 8;
    if (number === 0) throw new ModelFormatError('not a protobuf message: field number 0');
    if (wire === VARINT) {
      fields.push({ number, wire, integer: readVarint(message, cursor), bytes: NO_BYTES });
      continue;
    }
    const length = wire === DELIMITED ? readVarint(message, cursor) : wire === FIXED64 ? 8 : wire === FIXED32 ? 4 : -1;
    if (length < 0) throw new ModelFormatError(`not a protobuf message: wire type ${wire}`);
    if (cursor.at + length > message.length) throw new ModelFormatError('the file ends within a field: it is cut off');
    fields.push({ number, wire, integer: 0, bytes: message.subarray(cursor.at, cursor.at + length) });
    cursor.at += length;
  }
  return fields;
}

export function fieldText(field: ProtoField): string {
  try {
    return decoder.decode(field.bytes);
  } catch {
    throw new ModelFormatError('not UTF-8 where text is expected');
  }
}

/** A repeated integer, packed or not. */
export function appendIntegers(field: ProtoField, into: number[]): void {
  if (field.wire === VARINT) {
    into.push(field.integer);
    return;
  }
  const cursor = { at: 0 };
  while (cursor.at < field.bytes.length) into.push(readVarint(field.bytes, cursor));
}

/** A repeated float, packed or not. */
export function appendFloats(field: ProtoField, into: number[]): void {
  const { bytes } = field;
  if (bytes.length % 4 !== 0) throw new ModelFormatError('a list of floats is not a multiple of 4 bytes long');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; at += 4) into.push(view.getFloat32(at, true));
}

/** Integers above 2^53 (and negative ones, which the wire format turns into such) come out as NaN: no valid model holds one. */
function readVarint(bytes: Uint8Array, cursor: { at: number }): number {
  let value = 0;
  let scale = 1;
  for (let index = 0; index < 10; index++) {
    const byte = bytes[cursor.at];
    if (byte === undefined) throw new ModelFormatError('the file ends within a number: it is cut off');
    cursor.at++;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value <= Number.MAX_SAFE_INTEGER ? value : Number.NaN;
    scale *= 128;
  }
  throw new ModelFormatError('not a protobuf message: a number of more than 10 bytes');
}
