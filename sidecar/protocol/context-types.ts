/** What the context panel, the cost preview and mentions say over the wire. methods.ts lists the methods themselves. */

/** Why a file, or the rest of one, is not in the prompt; 'budget' is lack of room, 'dropped' the person's own wish. */
export type LeftOutReason =
  | 'budget'
  | 'binary'
  | 'dropped'
  | 'generated'
  | 'large'
  | 'secret'
  | 'lock-file'
  | 'link'
  | 'repository'
  | 'unreadable';

// ---- what goes along ----

/**
 * What a person decided about files and folders (workspace-relative, forward slashes, as prompts show them). A folder stands
 * for all that lies in it. Pinned ones go in verbatim before anything else, even generated, lock or large files (secrets and
 * binary files never do); dropped ones stay out. The most specific path decides; of equal ones, dropping does.
 */
export interface ContextChoice {
  readonly pinned: readonly string[];
  readonly dropped: readonly string[];
}

/** Something to take away so that a question fits; sent in the data of error ContextFull and in previews. */
export interface DropOffer {
  readonly kind: 'turns' | 'attachment' | 'mention' | 'pin' | 'image';
  /** For turns, how many; otherwise the path or name. */
  readonly name: string;
  readonly tokens: number;
}

/** Data of error ContextFull. */
export interface OverLong {
  readonly needed: number;
  readonly available: number;
  readonly offers: readonly DropOffer[];
}

// ---- cost preview ----

export interface CostPreview {
  readonly promptTokens: number;
  readonly contextLength: number;
  /** Tokens set aside for the answer. */
  readonly reserved: number;
  /** Prompt tokens whose KV is in memory, and those further ones that come from disk. */
  readonly cachedInMemory: number;
  readonly cachedOnDisk: number;
  /** Prompt tokens to read: the rest. */
  readonly toRead: number;
  /** Absent until a speed has been measured. */
  readonly seconds?: number;
  /** Why more is read than the question, where that will be so for the next one too: a sentence for a person. */
  readonly reason?: string;
  /** The first messages of the conversation, which no longer fit and will not be read; absent where all fit. */
  readonly forgottenTurns?: number;
  /** Present if it does not fit. */
  readonly overLong?: OverLong;
  /** Mentions that name nothing, as written. */
  readonly unknownMentions: readonly string[];
  readonly files: number;
}

// ---- context report ----

export interface ContextParams {
  readonly choice?: ContextChoice;
}

/**
 * How a file stands in the window: read (its KV is kept), fresh (in the prompt, to be read with the next question), outlined
 * (only its definitions), left out.
 */
export type ContextState = 'cached' | 'fresh' | 'outlined' | 'left-out';

/** A file, a folder, or (kind 'rest') the many small ones of a folder that are not worth a rectangle of their own. */
export interface ContextNode {
  readonly kind: 'folder' | 'file' | 'rest';
  readonly name: string;
  /** Workspace-relative; empty for the root. */
  readonly path: string;
  /** Tokens of all in it by state; a file may have several (partly in, the rest left out). Left-out ones may be estimates. */
  readonly tokens: Readonly<Record<ContextState, number>>;
  /** Files in it. */
  readonly files: number;
  readonly reason?: LeftOutReason;
  readonly pinned?: boolean;
  /** Largest first. */
  readonly children?: readonly ContextNode[];
}

/** A file that changed since the head of the prompt was read. */
export interface ContextChange {
  readonly path: string;
  readonly change: 'edited' | 'new' | 'deleted' | 'renamed';
  readonly tokens: number;
}

/** Tokens read in the background, of those that the next question will begin with. */
export interface ReadingAhead {
  readonly done: number;
  readonly total: number;
}

export interface ContextReport {
  readonly contextLength: number;
  /** Tokens set aside for the answer, and those of rules and repository as the next question would send them. */
  readonly reserved: number;
  readonly tokens: Readonly<Record<'head' | 'outlines' | 'journal', number>>;
  /** Of these, tokens whose KV is in memory, and further ones on disk. */
  readonly cachedInMemory: number;
  readonly cachedOnDisk: number;
  readonly root: ContextNode;
  readonly journal: readonly ContextChange[];
  /** KV memory by what it holds (f16, int8, int4: global layers; local: windows; kept: windows to resume from), in bytes; `reserved` is what is set aside in all. */
  readonly kv: {
    readonly used: readonly { readonly kind: string; readonly bytes: number }[];
    readonly reserved: number;
  };
  /** KV kept on disk for all models and repositories, and its limit; absent where there is no store. */
  readonly disk?: { readonly bytes: number; readonly limit: number };
  /** Present while the rest is read in the background. */
  readonly readingAhead?: ReadingAhead;
  readonly notes: readonly string[];
}

// ---- mentions ----

export interface MentionsParams {
  /** What stands behind the @ so far: "", "cha", "file:src/ch", "folder:". */
  readonly query: string;
  /** At most this many; default 20. */
  readonly limit?: number;
}

/**
 * A mention to choose. In the text of a question: `@selection`, `@problems`, `@diff`, `@terminal`, `@src/a.ts`, `@src/`,
 * `@file:src/a.ts`, `@folder:src`, quoted where a path has spaces: `@"my file.ts"`. The sidecar resolves files, folders and
 * @diff from the text; the editor attaches what @selection, @problems and @terminal stand for.
 */
export interface Mention {
  readonly kind: 'file' | 'folder' | 'selection' | 'problems' | 'diff' | 'terminal';
  /** What to insert, the @ included. */
  readonly insert: string;
  readonly label: string;
  /** Workspace-relative path; absent where the kind is not a file or folder. */
  readonly path?: string;
  /** UTF-16 offsets in `label` that matched the query. */
  readonly matches: readonly number[];
}
