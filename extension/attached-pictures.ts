/**
 * The pictures of a conversation on the host's side: each is encoded as soon as it is attached, so that it is ready when
 * the question is sent; taking it off ends its encoding. Pixels lie on the shelf and are read when they are needed.
 */

import type {
  ChatImage,
  EncodeImageParams,
  EncodeImageResult,
  ImageProgress,
} from '../sidecar/protocol/methods.ts';
import type { DecodedPicture } from '../webview/messages.ts';
import { clampRegion, distinctName, type Encoding, type Picture, type Region } from '../webview/picture.ts';
import type { ChatEvent } from '../webview/state.ts';
import type { PictureShelf, ShelvedPicture } from './picture-shelf.ts';

export interface AttachedPicturesOptions {
  readonly encode: (params: EncodeImageParams, signal: AbortSignal) => Promise<EncodeImageResult>;
  readonly shelf: PictureShelf;
  /** Of the conversation and of the next question, as the state has them now. */
  readonly all: () => readonly Picture[];
  readonly dispatch: (event: ChatEvent) => void;
  readonly showThumbnail: (key: string, png: Uint8Array<ArrayBuffer>) => void;
  /** What went wrong. */
  readonly describe: (error: unknown) => PictureProblem;
  readonly log: (line: string) => void;
}

export interface PictureProblem {
  /** A sentence for a person. */
  readonly message: string;
  /** The model has no image tower. */
  readonly blind?: true;
}

export class AttachedPictures {
  readonly #options: AttachedPicturesOptions;
  /** Pixels that are still on their way to the shelf, or could not be put there. */
  readonly #inMemory = new Map<string, ShelvedPicture>();
  readonly #running = new Map<string, { readonly abort: AbortController; readonly ended: Promise<void> }>();

  constructor(options: AttachedPicturesOptions) {
    this.#options = options;
  }

  attach(key: string, decoded: DecodedPicture): void {
    const { width, height, notes } = decoded;
    const shelved = {
      width,
      height,
      rgba: new Uint8Array(decoded.rgba),
      thumbnail: new Uint8Array(decoded.thumbnail),
    };
    this.#shelve(key, shelved);
    this.#options.showThumbnail(key, shelved.thumbnail);
    const picture: Picture = {
      key,
      // Pasted ones all have one name, and a message about one of them must say which.
      name: distinctName(decoded.name, this.#options.all()),
      width,
      height,
      notes,
      details: false,
      encoding: { state: 'waiting' },
    };
    this.#options.dispatch({ type: 'picture-attached', picture });
    this.#encode(key);
  }

  remove(key: string): void {
    this.#running.get(key)?.abort.abort();
    this.#inMemory.delete(key);
    this.#options.dispatch({ type: 'picture-removed', key });
  }

  async chooseRegion(key: string, region: Region | null, thumbnail: Uint8Array<ArrayBuffer>): Promise<void> {
    const picture = this.#find(key);
    const shelved = await this.pixels(key);
    if (picture === undefined || shelved === null) return;
    this.#shelve(key, { ...shelved, thumbnail });
    this.#options.showThumbnail(key, thumbnail);
    const clamped = region && clampRegion(region, picture.width, picture.height);
    const { region: _, offer: __, ...rest } = picture;
    this.#change({
      ...rest,
      ...(clamped && { region: clamped }),
      details: false,
      encoding: { state: 'waiting' },
    });
    this.#encode(key);
  }

  readDetails(key: string, details: boolean): void {
    const picture = this.#find(key);
    if (picture === undefined || picture.details === details) return;
    this.#change({ ...picture, details, encoding: { state: 'waiting' } });
    this.#encode(key);
  }

  /** Ends what is being encoded of it. */
  stop(key: string): void {
    this.#running.get(key)?.abort.abort();
    this.#running.delete(key);
    const picture = this.#find(key);
    if (picture === undefined || picture.encoding.state === 'ready' || picture.encoding.state === 'failed')
      return;
    this.#change({ ...picture, encoding: { state: 'stopped' } });
  }

  encodeAgain(key: string): void {
    const picture = this.#find(key);
    if (picture === undefined) return;
    this.#change({ ...picture, encoding: { state: 'waiting' } });
    this.#encode(key);
  }

  progressed(progress: ImageProgress): void {
    const picture = this.#find(progress.requestId.split('/')[0] ?? '');
    const ended: readonly Encoding['state'][] = ['ready', 'failed', 'stopped'];
    if (picture === undefined || ended.includes(picture.encoding.state)) return;
    const { phase, layer, layers, image, images, secondsLeft } = progress;
    const encoding: Encoding =
      phase === 'encoding'
        ? {
            state: 'encoding',
            layer,
            layers,
            image,
            images,
            ...(secondsLeft !== undefined && { secondsLeft }),
          }
        : { state: phase === 'loading' ? 'loading' : 'waiting' };
    this.#change({ ...picture, encoding });
  }

  /** Resolves when nothing of these is being encoded any more. */
  async settled(pictures: readonly Picture[]): Promise<void> {
    await Promise.all(pictures.map(({ key }) => this.#running.get(key)?.ended));
  }

  /**
   * As a question sends them. With `anew`, each is encoded first, for a sidecar that has forgotten them. `signal` ends their
   * encoding.
   * @throws PictureError when one of them cannot be sent: an answer must never pretend to have seen it
   */
  async toWire(
    pictures: readonly Picture[],
    { anew = false, signal }: { readonly anew?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<ChatImage[]> {
    const stop = () => {
      for (const { key } of pictures) this.stop(key);
    };
    for (const { key, encoding } of pictures)
      if (anew || encoding.state !== 'ready') if (!this.#running.has(key)) this.encodeAgain(key);
    signal?.addEventListener('abort', stop);
    await this.settled(pictures);
    signal?.removeEventListener('abort', stop);
    signal?.throwIfAborted();
    return pictures.map((before): ChatImage => {
      const { name, details, encoding } = this.#find(before.key) ?? before;
      if (encoding.state === 'failed') throw new PictureError(encoding);
      if (encoding.state !== 'ready') throw new PictureError({ message: `“${name}” is not ready.` });
      return { id: encoding.imageId, name, ...(details && { details }) };
    });
  }

  /** Null when they are no longer kept. */
  async pixels(key: string): Promise<ShelvedPicture | null> {
    return this.#inMemory.get(key) ?? (await this.#options.shelf.get(key));
  }

  /** Forgets the pixels of all pictures but these. */
  keepOnly(keys: ReadonlySet<string>): void {
    for (const [key, { abort }] of this.#running) if (!keys.has(key)) abort.abort();
    for (const key of this.#inMemory.keys()) if (!keys.has(key)) this.#inMemory.delete(key);
    void this.#options.shelf.keepOnly(keys);
  }

  #find(key: string): Picture | undefined {
    return this.#options.all().find((picture) => picture.key === key);
  }

  #shelve(key: string, picture: ShelvedPicture): void {
    this.#inMemory.set(key, picture);
    this.#options.shelf.put(key, picture).then(
      () => {
        if (this.#inMemory.get(key) === picture) this.#inMemory.delete(key);
      },
      (error: unknown) => this.#options.log(`A picture could not be kept on disk: ${String(error)}`),
    );
  }

  #change(picture: Picture): void {
    this.#options.dispatch({ type: 'picture-changed', picture });
  }

  /** Replaces an encoding of the same picture that is under way. */
  #encode(key: string): void {
    this.#running.get(key)?.abort.abort();
    const abort = new AbortController();
    // Nobody waits for the sidecar's word that it has ended.
    const aborted = new Promise<void>((resolve) => abort.signal.addEventListener('abort', () => resolve()));
    const running = { abort, ended: Promise.race([this.#encodeNow(key, abort.signal), aborted]) };
    this.#running.set(key, running);
    void running.ended.then(() => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    });
  }

  async #encodeNow(key: string, signal: AbortSignal): Promise<void> {
    const asked = this.#find(key);
    let change: (picture: Picture) => Picture;
    try {
      const shelved = await this.pixels(key);
      if (asked === undefined || signal.aborted) return;
      if (shelved === null)
        throw new PictureError({ message: `“${asked.name}” is no longer kept. Attach it again.` });
      const image = { kind: 'pixels', ...cutOut(shelved, asked.region) } as const;
      // Unique also when the same picture is encoded again; progress finds the picture by its first part.
      const requestId = `${key}/${++requests}`;
      const result = await this.#options.encode(
        { requestId, image, ...(asked.details && { details: true }) },
        signal,
      );
      const { id: imageId, tokens, details: offer } = result;
      change = (picture) => ({
        ...picture,
        ...(offer !== undefined && { offer }),
        encoding: { state: 'ready', imageId, tokens },
      });
    } catch (error) {
      const problem = error instanceof PictureError ? error.problem : this.#options.describe(error);
      change = (picture) => ({ ...picture, encoding: { state: 'failed', ...problem } });
    }
    const picture = this.#find(key);
    if (picture !== undefined && !signal.aborted) this.#change(change(picture));
  }
}

let requests = 0;

/** Why a picture cannot be sent. */
export class PictureError extends Error {
  readonly problem: PictureProblem;

  constructor({ message, blind }: PictureProblem) {
    super(message);
    this.problem = { message, ...(blind && { blind }) };
  }
}

/** The part `region` of a picture's pixels. */
export function cutOut(
  { width, height, rgba }: Pick<ShelvedPicture, 'width' | 'height' | 'rgba'>,
  region: Region | undefined,
): { width: number; height: number; rgba: Uint8Array } {
  if (region === undefined) return { width, height, rgba };
  const rowBytes = region.width * 4;
  const cut = new Uint8Array(rowBytes * region.height);
  for (let row = 0; row < region.height; row++) {
    const start = ((region.y + row) * width + region.x) * 4;
    cut.set(rgba.subarray(start, start + rowBytes), row * rowBytes);
  }
  return { width: region.width, height: region.height, rgba: cut };
}
