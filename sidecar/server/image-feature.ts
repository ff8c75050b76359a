/** gemma/encodeImage: an image in, progress as notifications, what it takes in a prompt as the result. */
import type { CancellationToken } from 'vscode-languageserver/node';
import {
  EncodeImageRequest,
  type EncodeImageResult,
  ImageProgressNotification,
  type ImageProgress as WireProgress,
} from '../protocol/methods.ts';
import type { ImageLibrary } from '../session/image-library.ts';
import { cancelled, toResponseError } from './errors.ts';
import type { Feature } from './feature.ts';
import { encodeImageFromWire } from './image-wire.ts';
import type { ServerContext } from './server-context.ts';

/** Progress more often than this is noise to a person. */
const PROGRESS_INTERVAL_MS = 50;

export class ImageFeature implements Feature {
  private readonly context: ServerContext;
  private readonly images: ImageLibrary;

  constructor(context: ServerContext, images: ImageLibrary) {
    this.context = context;
    this.images = images;
  }

  initialize() {
    this.context.connection.onRequest(
      EncodeImageRequest.method,
      (params: unknown, token: CancellationToken) => this.encode(params, token),
    );
    return {};
  }

  private async encode(params: unknown, token: CancellationToken): Promise<EncodeImageResult> {
    const abort = new AbortController();
    const cancellation = token.onCancellationRequested(() => abort.abort());
    try {
      const { requestId, details, decode } = encodeImageFromWire(params);
      const report = this.reporter(requestId);
      report({ phase: 'decoding', layer: 0, layers: 0, image: 1, images: 1 });
      const image = await decode(abort.signal);
      const encoded = await this.images.encode(image, details, report, abort.signal);
      return { requestId, ...encoded };
    } catch (error) {
      if (abort.signal.aborted) throw cancelled();
      throw toResponseError(error);
    } finally {
      cancellation.dispose();
    }
  }

  private reporter(requestId: string): (progress: Omit<WireProgress, 'requestId'>) => void {
    let phase = '';
    let time = 0;
    return (progress) => {
      const now = performance.now();
      const isLast = progress.layer > 0 && progress.layer === progress.layers;
      if (progress.phase === phase && !isLast && now - time < PROGRESS_INTERVAL_MS) return;
      ({ phase } = progress);
      time = now;
      void this.context.connection.sendNotification(ImageProgressNotification.method, {
        requestId,
        ...progress,
      } satisfies WireProgress);
    };
  }
}
