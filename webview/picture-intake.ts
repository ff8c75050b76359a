/** Pictures that come into the page: pasted, dropped, or sent by the host to be decoded. */

import { ImageProblem, MAX_PICTURE_FILE_BYTES } from '../sidecar/protocol/image-header.ts';
import { decodePicture, drawSource } from './decode-picture.ts';
import type { DecodedPicture, HostMessage } from './messages.ts';
import { send } from './port.ts';

/** A picture on its way, before the conversation has it. */
export interface Incoming {
  readonly key: string;
  readonly name: string;
  /** Why it cannot be used; absent while it is being decoded. */
  readonly problem?: string;
}

export type PictureFromHost = Extract<HostMessage, { type: 'decode' | 'draw' }>;

/** Files among what is pasted or dropped; empty when there is only text. */
export function filesOf(data: DataTransfer | null): File[] {
  return data === null ? [] : [...data.files];
}

export class PictureIntake {
  readonly #changed: () => void;
  #incoming: readonly Incoming[] = [];

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get incoming(): readonly Incoming[] {
    return this.#incoming;
  }

  get isDecoding(): boolean {
    return this.#incoming.some(({ problem }) => problem === undefined);
  }

  /** Decodes each file and hands it to the host; one that cannot be used stays here with the reason. */
  async take(files: readonly File[]): Promise<void> {
    for (const file of files) {
      // The clipboard calls everything image.png.
      const name = file.name === 'image.png' || file.name === '' ? 'Pasted image' : file.name;
      await this.#take(newKey(), name, async () => {
        if (file.size > MAX_PICTURE_FILE_BYTES)
          throw new ImageProblem(
            `“${name}” is larger than 64 MiB. Save it smaller, or take a screenshot of it.`,
          );
        return decodePicture(name, new Uint8Array(await file.arrayBuffer()));
      });
    }
  }

  /** Decodes or draws what the host has read; the host is told when it cannot be used. */
  async takeFromHost(picture: PictureFromHost): Promise<void> {
    const { key, name } = picture;
    await this.#take(key, name, () =>
      picture.type === 'draw'
        ? drawSource(name, picture.language, picture.source)
        : decodePicture(name, new Uint8Array(picture.bytes)),
    );
    const problem = this.#incoming.find((incoming) => incoming.key === key)?.problem;
    if (problem === undefined) return;
    await send({ type: 'picture-refused', key, message: problem }).catch(() => {});
  }

  dismiss(key: string): void {
    this.#set(this.#incoming.filter((incoming) => incoming.key !== key));
  }

  async #take(key: string, name: string, decode: () => Promise<DecodedPicture>): Promise<void> {
    this.#set([...this.#incoming, { key, name }]);
    try {
      const picture = await decode();
      await send({ type: 'attach-picture', key, picture });
      this.dismiss(key);
    } catch (error) {
      const problem = error instanceof Error ? error.message : `“${name}” could not be read.`;
      this.#set(this.#incoming.map((incoming) => (incoming.key === key ? { key, name, problem } : incoming)));
    }
  }

  #set(incoming: readonly Incoming[]): void {
    this.#incoming = incoming;
    this.#changed();
  }
}

function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('');
}
