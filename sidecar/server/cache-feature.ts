/** gemma/cacheReport and gemma/clearCache: what of prompts that were read lies on disk, and deleting it. */
import type { InitializeParams } from 'vscode-languageserver/node';
import { HeadStore } from '../context/head-store.ts';
import { clearIndexFiles } from '../context/search/index-file.ts';
import { clearStore, reportStore } from '../engine/kv/store/limits.ts';
import { EmbeddingStore } from '../engine/vision/embedding-store.ts';
import { type CacheReport, CacheReportRequest, ClearCacheRequest } from '../protocol/methods.ts';
import { DEFAULT_GIGABYTES } from '../session/kv-store-options.ts';
import { toResponseError } from './errors.ts';
import type { Feature } from './feature.ts';
import type { ServerContext } from './server-context.ts';
import { cacheFromWire } from './status-wire.ts';

export class CacheFeature implements Feature {
  private readonly context: ServerContext;
  private readonly folder: string | null;
  private limitBytes = 0;

  constructor(context: ServerContext, folder: string | null) {
    this.context = context;
    this.folder = folder;
  }

  initialize(params: InitializeParams) {
    const { connection } = this.context;
    const limits = cacheFromWire(params.initializationOptions);
    this.limitBytes = limits === null ? 0 : (limits.maxGigabytes ?? DEFAULT_GIGABYTES) * 1e9;
    connection.onRequest(CacheReportRequest.method, () => this.report());
    connection.onRequest(ClearCacheRequest.method, async () => {
      try {
        if (this.folder === null) return { freedBytes: 0 };
        await new HeadStore(this.folder).clear();
        clearIndexFiles(this.folder);
        const images = await new EmbeddingStore(this.folder).clear();
        return { freedBytes: images + (await clearStore(this.folder)) };
      } catch (error) {
        throw toResponseError(error);
      }
    });
    return {};
  }

  /** What lies there, of all models and repositories; a limit of 0 bytes where no KV goes to disk. */
  async report(): Promise<CacheReport> {
    const { limitBytes } = this;
    if (this.folder === null) return { folder: '', bytes: 0, limitBytes: 0, entries: 0, tokens: 0 };
    const { folder, bytes, segments, models } = await reportStore(this.folder);
    const images = await new EmbeddingStore(folder).report();
    const tokens = models.reduce((sum, model) => sum + model.tokens, 0);
    return { folder, bytes: bytes + images.bytes, limitBytes, entries: segments + images.images, tokens };
  }
}
