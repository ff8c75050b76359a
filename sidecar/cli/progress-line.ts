/** Progress on stderr: one line that is rewritten on a terminal; elsewhere only what is worth a line of its own. */
export class ProgressLine {
  private readonly stream: NodeJS.WriteStream;
  private shown = false;

  constructor(stream: NodeJS.WriteStream) {
    this.stream = stream;
  }

  /** Passing: rewritten by the next one. */
  show(text: string): void {
    if (!this.stream.isTTY) return;
    this.stream.write(`\r\u001b[2K${text}`);
    this.shown = true;
  }

  /** Stays. */
  keep(text: string): void {
    this.clear();
    this.stream.write(`${text}\n`);
  }

  clear(): void {
    if (this.shown) this.stream.write('\r\u001b[2K');
    this.shown = false;
  }
}
