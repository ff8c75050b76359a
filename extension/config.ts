/** The settings as one typed value. */

import * as vscode from 'vscode';

const SECTION = 'gemmaSidecar';

export interface Settings {
  /** GGUF file; absent means the built-in model. */
  readonly modelPath?: string;
  /** GGUF file; absent means the tower in, or beside, the model file. */
  readonly mmprojPath?: string;
  readonly contextLength?: number;
  readonly threads?: number;
  readonly cache: {
    readonly enabled: boolean;
    readonly maxGigabytes?: number;
    readonly maxDays?: number;
  };
  readonly kvFormat?: 'auto' | 'f16' | 'int8' | 'int4';
  readonly sparsePositions?: number;
  readonly readAhead: boolean;
}

/**
 * Settings with power over the process. Only user-level values count: a workspace must not choose which file is
 * mapped or how much memory is taken, whatever scope an editor enforces.
 */
export function readSettings(): Settings {
  const modelPath = userValue<string>('modelPath')?.trim();
  const mmprojPath = userValue<string>('imageTowerPath')?.trim();
  const contextLength = userValue<number>('contextLength');
  const threads = userValue<number>('threads');
  const maxGigabytes = userValue<number>('cache.maxGigabytes');
  const maxDays = userValue<number>('cache.maxDays');
  const sparsePositions = userValue<number>('sparseReading');
  const kvFormat = (['auto', 'f16', 'int8', 'int4'] as const).find(
    (f) => f === userValue<string>('kvCacheType'),
  );
  return {
    readAhead: userValue<boolean>('readAhead') ?? true,
    cache: {
      enabled: userValue<boolean>('cache.enabled') ?? true,
      ...(isPositiveInteger(maxGigabytes) ? { maxGigabytes } : {}),
      ...(isPositiveInteger(maxDays) ? { maxDays } : {}),
    },
    ...(modelPath ? { modelPath } : {}),
    ...(mmprojPath ? { mmprojPath } : {}),
    ...(isPositiveInteger(contextLength) ? { contextLength } : {}),
    ...(isPositiveInteger(threads) ? { threads } : {}),
    ...(kvFormat ? { kvFormat } : {}),
    ...(isPositiveInteger(sparsePositions) ? { sparsePositions } : {}),
  };
}

/** Completion may differ by language and folder: it only decides whether we are asked. */
export function isCompletionEnabled(scope?: vscode.ConfigurationScope): boolean {
  return vscode.workspace.getConfiguration(SECTION, scope ?? null).get<boolean>('completion.enabled', true);
}

export async function setCompletionEnabled(enabled: boolean, languageId: string | undefined): Promise<void> {
  const scope = languageId === undefined ? null : { languageId };
  await vscode.workspace
    .getConfiguration(SECTION, scope)
    .update('completion.enabled', enabled, vscode.ConfigurationTarget.Global, languageId !== undefined);
}

/** `null` stands for the built-in model. */
export async function setModelPath(path: string | null): Promise<void> {
  const value = path ?? undefined;
  await vscode.workspace
    .getConfiguration(SECTION)
    .update('modelPath', value, vscode.ConfigurationTarget.Global);
}

export function affectsModel(change: vscode.ConfigurationChangeEvent): boolean {
  return change.affectsConfiguration(`${SECTION}.modelPath`);
}

/** Settings that a running sidecar cannot take over. */
export function needsRestart(change: vscode.ConfigurationChangeEvent): boolean {
  return [
    'imageTowerPath',
    'contextLength',
    'threads',
    'kvCacheType',
    'sparseReading',
    'cache',
    'readAhead',
  ].some((name) => change.affectsConfiguration(`${SECTION}.${name}`));
}

function userValue<T>(name: string): T | undefined {
  return vscode.workspace.getConfiguration(SECTION).inspect<T>(name)?.globalValue;
}

function isPositiveInteger(value: number | undefined): value is number {
  return value !== undefined && Number.isInteger(value) && value > 0;
}
