/** gemma/encodeImage: refused with a reason while the image tower is not connected to the chat. */
import { EncodeImageRequest } from '../protocol/methods.ts';
import { ImagesUnavailableError, toResponseError } from './errors.ts';
import type { Feature } from './feature.ts';
import type { ServerContext } from './server-context.ts';

export class ImageFeature implements Feature {
  private readonly context: ServerContext;

  constructor(context: ServerContext) {
    this.context = context;
  }

  initialize() {
    this.context.connection.onRequest(EncodeImageRequest.method, () => {
      throw toResponseError(new ImagesUnavailableError());
    });
    return {};
  }
}
