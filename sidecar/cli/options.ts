/** Reads option values as numbers, texts and lists; a bad one throws UsageError that names the option. */
import { type OptionValues, UsageError } from './command.ts';

export interface NumberRange {
  readonly least: number;
  readonly most?: number;
}

export function textOption(values: OptionValues, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

export function requiredText(values: OptionValues, name: string): string {
  const value = textOption(values, name);
  if (value === undefined) throw new UsageError(`--${name} is needed`);
  return value;
}

export function textList(values: OptionValues, name: string): readonly string[] {
  const value = values[name];
  return Array.isArray(value) ? value.map(String) : [];
}

export function flag(values: OptionValues, name: string): boolean {
  return values[name] === true;
}

export function numberOption(values: OptionValues, name: string, range: NumberRange): number | undefined {
  const text = textOption(values, name);
  if (text === undefined) return undefined;
  const value = text.trim() === '' ? Number.NaN : Number(text);
  const { least, most = Number.MAX_SAFE_INTEGER } = range;
  if (!(value >= least && value <= most)) {
    const limits = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `between ${least} and ${most}`;
    throw new UsageError(`--${name} needs a number ${limits}, not "${text}"`);
  }
  return value;
}

export function integerOption(values: OptionValues, name: string, range: NumberRange): number | undefined {
  const value = numberOption(values, name, range);
  if (value !== undefined && !Number.isSafeInteger(value)) {
    throw new UsageError(`--${name} needs a whole number, not "${textOption(values, name)}"`);
  }
  return value;
}

export function choiceOption<T extends string>(
  values: OptionValues,
  name: string,
  choices: readonly T[],
): T | undefined {
  const text = textOption(values, name);
  if (text === undefined) return undefined;
  const choice = choices.find((c) => c === text);
  if (choice === undefined) throw new UsageError(`--${name} is one of ${choices.join(', ')}, not "${text}"`);
  return choice;
}

/** Token ids separated by commas or white space, such as "2,10,11" or ["2", "10"]. */
export function parseIds(texts: readonly string[], what: string): number[] {
  const parts = texts.flatMap((text) => text.split(/[\s,]+/)).filter((part) => part !== '');
  if (parts.length === 0) throw new UsageError(`${what} needs token ids, for example 2,10,11`);
  return parts.map((part) => {
    if (!/^\d{1,9}$/.test(part)) throw new UsageError(`${what}: "${part}" is not a token id`);
    return Number(part);
  });
}
