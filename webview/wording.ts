/** Numbers and states as sentences. */

import type { ChatProgress, LeftOutFile, TokenUse } from '../sidecar/protocol/methods.ts';
import { type ChatState, lastQuestion, type Sidecar } from './state.ts';

/** "93,120": grouped alike on every machine, as the interface is in English. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** "1 file", "412 files". */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
}

/** "8K", "128K" for powers of two as context lengths are; grouped digits for the rest. */
export function tokenCapacity(value: number): string {
  return value >= 1024 && value % 1024 === 0 ? `${count(value / 1024)}K` : count(value);
}

/** "0:40", "12:05", "1:02:05". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const pad = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
}

/** "2.3 MiB", "418 MiB", "2.4 GiB". */
export function byteSize(bytes: number): string {
  const mebibytes = bytes / 2 ** 20;
  if (mebibytes >= 1000) return `${(mebibytes / 1024).toFixed(1)} GiB`;
  return `${mebibytes.toFixed(mebibytes < 10 ? 1 : 0)} MiB`;
}

export interface ProgressLine {
  readonly text: string;
  /** 0..1; null when nobody knows. */
  readonly fraction: number | null;
}

/** What is happening while no word of the answer is there yet. */
export function progressLine(state: ChatState): ProgressLine {
  const { progress, sidecar } = state;
  if (progress === null) return lookingLine(state) ?? { text: beforeProgress(sidecar), fraction: null };
  const fraction = progress.total > 0 ? Math.min(1, progress.done / progress.total) : null;
  switch (progress.phase) {
    case 'waiting':
      return { text: 'Waiting for another request to finish', fraction: null };
    case 'loading':
      return { text: `Loading the model${percentage(fraction)}`, fraction };
    case 'gathering':
      return {
        text: progress.done > 0 ? `Finding files: ${count(progress.done)}` : 'Finding files',
        fraction,
      };
    case 'reading':
      return { text: reading(progress, state.promptUse?.fileCount ?? 0, fraction), fraction };
    case 'answering':
      return { text: 'Writing the answer', fraction: null };
    default:
      return progress.phase satisfies never;
  }
}

/** The question waits for its pictures; null when none of them is being read. */
function lookingLine(state: ChatState): ProgressLine | null {
  const picture = lastQuestion(state)?.pictures?.find(({ encoding }) => encoding.state === 'encoding');
  if (picture?.encoding.state !== 'encoding') return null;
  const { layer, layers, image, images } = picture.encoding;
  const part = images > 1 ? `part ${image} of ${images}, ` : '';
  return {
    text: `Looking at ${picture.name}: ${part}layer ${layer} of ${layers}`,
    fraction: (image - 1 + layer / layers) / images,
  };
}

function beforeProgress(sidecar: Sidecar): string {
  if (sidecar.state === 'running') return 'Preparing the question';
  return sidecar.state === 'restarting' ? 'The sidecar is starting again' : 'The sidecar is starting';
}

function reading(progress: ChatProgress, fileCount: number, fraction: number | null): string {
  const what =
    fileCount > 0 ? `Reading repository: ${counted(fileCount, 'file')}, ` : 'Reading the conversation: ';
  const speed = progress.tokensPerSecond === undefined ? '' : `, ${count(progress.tokensPerSecond)} tokens/s`;
  const left = progress.secondsLeft === undefined ? '' : `, ${duration(progress.secondsLeft)} left`;
  return `${what}${counted(progress.total, 'token')}${percentage(fraction)}${speed}${left}`;
}

function percentage(fraction: number | null): string {
  return fraction === null ? '' : `, ${Math.floor(fraction * 100)} %`;
}

export interface MeterPart {
  readonly name: 'repository' | 'conversation' | 'reserved' | 'free';
  readonly label: string;
  readonly tokens: number;
}

/** What fills the window; the parts add up to the context length. */
export function meterParts(use: TokenUse): MeterPart[] {
  const free = Math.max(0, use.contextLength - use.repository - use.conversation - use.reserved);
  return [
    { name: 'repository', label: 'Repository', tokens: use.repository },
    { name: 'conversation', label: 'Conversation', tokens: use.conversation },
    { name: 'reserved', label: 'Kept for the answer', tokens: use.reserved },
    { name: 'free', label: 'Free', tokens: free },
  ];
}

/** 0..1, how much of the window is taken. */
export function usedFraction(use: TokenUse): number {
  if (use.contextLength <= 0) return 0;
  return Math.min(1, (use.repository + use.conversation + use.reserved) / use.contextLength);
}

export const LEFT_OUT_REASONS: Readonly<Record<LeftOutFile['reason'], string>> = {
  budget: 'did not fit',
  binary: 'binary',
  dropped: 'dropped by you',
  generated: 'generated',
  large: 'too large',
  secret: 'may hold secrets',
  'lock-file': 'lock file',
  link: 'link to another place',
  repository: 'a repository of its own',
  unreadable: 'could not be read',
};
