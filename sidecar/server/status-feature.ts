/** gemma/status, gemma/models, gemma/selectModel and the notification of every change. */
import type { InitializeParams } from 'vscode-languageserver/node';
import { type DescribedModel, describeModel } from '../models/describe.ts';
import { type FoundModel, findModels } from '../models/discover.ts';
import { builtInModelPath, missingBuiltInModel } from '../models/find.ts';
import { modelPlaces, thisMachine } from '../models/places.ts';
import {
  type ModelInfo,
  ModelsRequest,
  SelectModelRequest,
  type Status,
  StatusChangedNotification,
  StatusRequest,
} from '../protocol/methods.ts';
import { storeOptions } from '../session/kv-store-options.ts';
import type { ModelSettings } from '../session/model-host.ts';
import { toResponseError } from './errors.ts';
import type { Feature } from './feature.ts';
import type { ServerContext } from './server-context.ts';
import {
  cacheFromWire,
  type SelectedModel,
  selectedFromWire,
  settingsFromWire,
  statusToWire,
} from './status-wire.ts';

/** Loading reports progress far more often than a person can see. */
const STATUS_INTERVAL_MS = 100;

export class StatusFeature implements Feature {
  private readonly context: ServerContext;
  private readonly cacheFolder: string | null;
  private readonly defaults: ModelSettings & { readonly modelPath?: string };
  private settings: ModelSettings & { readonly modelPath?: string } = {};
  private timer: NodeJS.Timeout | null = null;
  private lastSent = '';

  /** `defaults` come from the command line; what the client asks for at initialize goes before them. */
  constructor(
    context: ServerContext,
    defaults: ModelSettings & { readonly modelPath?: string },
    cacheFolder: string | null,
  ) {
    this.context = context;
    this.cacheFolder = cacheFolder;
    this.defaults = defaults;
  }

  initialize(params: InitializeParams) {
    const { connection, host } = this.context;
    const onNotice = (sentence: string) => {
      connection.console.warn(sentence);
      host.notice(sentence);
    };
    this.settings = { ...this.defaults, ...settingsFromWire(params.initializationOptions) };
    const limits = cacheFromWire(params.initializationOptions);
    const store =
      this.cacheFolder !== null && limits !== null ? storeOptions(this.cacheFolder, limits, onNotice) : null;
    this.settings = { ...this.settings, store };
    connection.onRequest(StatusRequest.method, () => this.status());
    connection.onRequest(ModelsRequest.method, () => this.models());
    connection.onRequest(SelectModelRequest.method, (select: unknown) => {
      try {
        this.load(selectedFromWire(select));
        return this.status();
      } catch (error) {
        throw toResponseError(error);
      }
    });
    return {};
  }

  initialized(): void {
    this.context.host.onChange(() => this.schedule());
    this.context.readAhead.onChange(() => this.schedule());
    const { modelPath = null, mmprojPath } = this.settings;
    this.load({ path: modelPath, ...(mmprojPath !== undefined && { mmprojPath }) });
  }

  private load({ path, ...tower }: SelectedModel): void {
    const { modelPath: _, mmprojPath: __, ...settings } = this.settings;
    const file = path ?? builtInModelPath();
    if (file === null) this.context.host.setNone(missingBuiltInModel());
    else void this.context.host.select(file, { ...settings, ...tower });
  }

  private status(): Status {
    const { host, readAhead } = this.context;
    return statusToWire(host, builtInModelPath(), readAhead.progress);
  }

  private async models(): Promise<ModelInfo[]> {
    const builtIn = builtInModelPath();
    const paths = new Set([builtIn, this.settings.modelPath ?? null].filter((p) => p !== null));
    const known: (DescribedModel | FoundModel)[] = [];
    for (const path of paths) {
      try {
        known.push(await describeModel(path));
      } catch (error) {
        this.context.connection.console.warn(`${path} is not a model: ${String(error)}`);
      }
    }
    const elsewhere = await findModels(modelPlaces(thisMachine()));
    return [...known, ...elsewhere.filter(({ path }) => !paths.has(path))].map(
      ({ trainedContext, ...model }) => ({
        ...model,
        contextLength: trainedContext,
        builtIn: model.path === builtIn,
      }),
    );
  }

  private schedule(): void {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      const status = this.status();
      const text = JSON.stringify(status);
      if (text === this.lastSent) return;
      this.lastSent = text;
      void this.context.connection.sendNotification(StatusChangedNotification.method, status);
    }, STATUS_INTERVAL_MS);
  }
}
