/**
 * The suffix automaton of a growing list of token ids (Blumer et al., "The smallest automaton recognizing the subwords of a
 * text", 1985): after every token it knows the longest run of tokens at the end that stood somewhere before, and where.
 * Appending costs amortised constant time; SAM-Decoding (arXiv 2411.10666) uses it to find drafts.
 */

export interface Repetition {
  /** Tokens at the end of the list that stood before as well. */
  readonly length: number;
  /** Index of the last token of an earlier occurrence, the most recent one that is known. */
  readonly end: number;
}

/** Ends of how many states on the suffix path are kept fresh: short suffixes recur everywhere and predict little. */
const FRESH_STATES = 4;

export class SuffixAutomaton {
  #ids = new Uint32Array(1024);
  #length = 0;
  /** States: 0 is the root. A state stands for the runs that occur at the same places. */
  #states = 1;
  #longest = new Int32Array(2048);
  #link = new Int32Array(2048).fill(-1);
  /** An end position of the state's runs. */
  #end = new Int32Array(2048).fill(-1);
  /** First edge of each state, or -1. */
  #edges = new Int32Array(2048).fill(-1);
  #last = 0;
  #edgeCount = 0;
  #edgeToken = new Uint32Array(4096);
  #edgeTarget = new Int32Array(4096);
  #edgeState = new Int32Array(4096);
  #edgeNext = new Int32Array(4096);
  /** Open addressing: (state, token) to edge + 1. */
  #table = new Int32Array(16_384);
  #repetition: Repetition = { length: 0, end: -1 };

  get length(): number {
    return this.#length;
  }
  get ids(): Uint32Array {
    return this.#ids.subarray(0, this.#length);
  }
  /** What the present end of the list repeats; length 0 if its last token never stood before. */
  get repetition(): Repetition {
    return this.#repetition;
  }

  append(token: number): void {
    this.#reserve();
    const position = this.#length++;
    this.#ids[position] = token;
    const state = this.#newState(this.#longest[this.#last]! + 1, position);
    let at = this.#last;
    let edge = -1;
    while (at !== -1) {
      edge = this.#find(at, token);
      if (edge !== -1) break;
      this.#addEdge(at, token, state);
      at = this.#link[at]!;
    }
    this.#link[state] = at === -1 ? 0 : this.#suffixTarget(at, edge, token);
    this.#last = state;
    this.#repetition = this.#refresh(this.#link[state]!, position);
  }

  /** The state that `edge` of `at` leads to, split off first if it also stands for longer runs. */
  #suffixTarget(at: number, edge: number, token: number): number {
    const target = this.#edgeTarget[edge]!;
    const length = this.#longest[at]! + 1;
    if (this.#longest[target] === length) return target;
    const clone = this.#newState(length, this.#end[target]!);
    for (let e = this.#edges[target]!; e !== -1; e = this.#edgeNext[e]!) {
      this.#addEdge(clone, this.#edgeToken[e]!, this.#edgeTarget[e]!);
    }
    this.#link[clone] = this.#link[target]!;
    this.#link[target] = clone;
    for (let from = at; from !== -1; from = this.#link[from]!) {
      const back = this.#find(from, token);
      if (back === -1 || this.#edgeTarget[back] !== target) break;
      this.#edgeTarget[back] = clone;
    }
    return clone;
  }

  /** What the end repeats; the states on its path now also end here. */
  #refresh(state: number, position: number): Repetition {
    const repetition = { length: this.#longest[state]!, end: this.#end[state]! };
    let at = state;
    for (let i = 0; i < FRESH_STATES && at > 0; i++) {
      this.#end[at] = position;
      at = this.#link[at]!;
    }
    return repetition;
  }

  #newState(longest: number, end: number): number {
    const state = this.#states++;
    this.#longest[state] = longest;
    this.#end[state] = end;
    return state;
  }

  #addEdge(state: number, token: number, target: number): void {
    const edge = this.#edgeCount++;
    this.#edgeToken[edge] = token;
    this.#edgeTarget[edge] = target;
    this.#edgeState[edge] = state;
    this.#edgeNext[edge] = this.#edges[state]!;
    this.#edges[state] = edge;
    this.#insert(edge);
  }

  #find(state: number, token: number): number {
    const mask = this.#table.length - 1;
    for (let slot = hash(state, token) & mask; ; slot = (slot + 1) & mask) {
      const edge = this.#table[slot]! - 1;
      if (edge === -1) return -1;
      if (this.#edgeState[edge] === state && this.#edgeToken[edge] === token) return edge;
    }
  }

  #insert(edge: number): void {
    const mask = this.#table.length - 1;
    let slot = hash(this.#edgeState[edge]!, this.#edgeToken[edge]!) & mask;
    while (this.#table[slot] !== 0) slot = (slot + 1) & mask;
    this.#table[slot] = edge + 1;
  }

  /** Room for one more token: two states, and the edges that they can bring (never more than 3 a token in all). */
  #reserve(): void {
    if (this.#length === this.#ids.length) this.#ids = grown(this.#ids, 0);
    if (this.#states + 2 > this.#longest.length) {
      this.#longest = grown(this.#longest, 0);
      this.#link = grown(this.#link, -1);
      this.#end = grown(this.#end, -1);
      this.#edges = grown(this.#edges, -1);
    }
    // The bound of 3n edges (Blumer et al.) holds for the whole automaton, whatever one token adds.
    if (3 * (this.#length + 1) > this.#edgeToken.length) {
      this.#edgeToken = grown(this.#edgeToken, 0);
      this.#edgeTarget = grown(this.#edgeTarget, 0);
      this.#edgeState = grown(this.#edgeState, 0);
      this.#edgeNext = grown(this.#edgeNext, 0);
      this.#table = new Int32Array(4 * this.#edgeToken.length);
      for (let edge = 0; edge < this.#edgeCount; edge++) this.#insert(edge);
    }
  }
}

function hash(state: number, token: number): number {
  const mixed = Math.imul(state, 0x9e3779b1) ^ Math.imul(token + 1, 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

function grown<T extends Uint32Array | Int32Array>(old: T, rest: number): T {
  const larger = new (old.constructor as new (length: number) => T)(2 * old.length);
  larger.fill(rest, old.length);
  larger.set(old);
  return larger;
}
