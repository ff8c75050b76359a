/** Which lines of a text changed: Myers' greedy difference over lines (An O(ND) Difference Algorithm, 1986), bounded. */

/** Lines [oldFirst, oldFirst + oldCount) became [newFirst, newFirst + newCount); 1-based. */
export interface LineChange {
  readonly oldFirst: number;
  readonly oldCount: number;
  readonly newFirst: number;
  readonly newCount: number;
}

/** Texts that differ in more lines are one change from the first to the last difference. */
const MOST_DIFFERENCES = 256;
/** Changes with fewer unchanged lines between them are told as one. */
const JOINED_WITHIN = 3;

/** In order; empty for equal texts. */
export function lineChanges(before: readonly string[], after: readonly string[]): LineChange[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let oldEnd = before.length;
  let newEnd = after.length;
  while (oldEnd > start && newEnd > start && before[oldEnd - 1] === after[newEnd - 1]) {
    oldEnd--;
    newEnd--;
  }
  if (start === oldEnd && start === newEnd) return [];
  const a = before.slice(start, oldEnd);
  const b = after.slice(start, newEnd);
  const raw = shortestEdits(a, b) ?? [{ oldFirst: 0, oldCount: a.length, newFirst: 0, newCount: b.length }];
  const joined: LineChange[] = [];
  for (const change of raw) {
    const last = joined.at(-1);
    if (last && change.oldFirst - (last.oldFirst + last.oldCount) < JOINED_WITHIN) {
      joined[joined.length - 1] = {
        ...last,
        oldCount: change.oldFirst + change.oldCount - last.oldFirst,
        newCount: change.newFirst + change.newCount - last.newFirst,
      };
    } else joined.push(change);
  }
  return joined.map((c) => ({ ...c, oldFirst: c.oldFirst + start + 1, newFirst: c.newFirst + start + 1 }));
}

/** 0-based; null where more than MOST_DIFFERENCES lines differ. */
function shortestEdits(a: readonly string[], b: readonly string[]): LineChange[] | null {
  const most = Math.min(a.length + b.length, MOST_DIFFERENCES);
  const furthest = new Int32Array(2 * most + 2);
  const trace: Int32Array[] = [];
  for (let d = 0; d <= most; d++) {
    trace.push(furthest.slice());
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && furthest[most + k - 1]! < furthest[most + k + 1]!);
      let x = down ? furthest[most + k + 1]! : furthest[most + k - 1]! + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest[most + k] = x;
      if (x >= a.length && x - k >= b.length) return edits(trace, a.length, b.length, most);
    }
  }
  return null;
}

function edits(
  trace: readonly Int32Array[],
  oldLength: number,
  newLength: number,
  most: number,
): LineChange[] {
  const changes: LineChange[] = [];
  let x = oldLength;
  let y = newLength;
  for (let d = trace.length - 1; d > 0; d--) {
    const furthest = trace[d]!;
    const k = x - y;
    const down = k === -d || (k !== d && furthest[most + k - 1]! < furthest[most + k + 1]!);
    const previousK = down ? k + 1 : k - 1;
    const previousX = furthest[most + previousK]!;
    const previousY = previousX - previousK;
    const first = changes[0];
    const oldCount = down ? 0 : 1;
    if (first && first.oldFirst === previousX + oldCount && first.newFirst === previousY + 1 - oldCount) {
      changes[0] = {
        oldFirst: previousX,
        oldCount: first.oldCount + oldCount,
        newFirst: previousY,
        newCount: first.newCount + 1 - oldCount,
      };
    } else changes.unshift({ oldFirst: previousX, oldCount, newFirst: previousY, newCount: 1 - oldCount });
    x = previousX;
    y = previousY;
  }
  return changes;
}
