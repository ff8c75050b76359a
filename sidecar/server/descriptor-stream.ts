/** Writes to an inherited descriptor without touching process.stdout and without blocking the event loop. */
import { write } from 'node:fs';
import { Writable } from 'node:stream';

/** The other side made the descriptor non-blocking and its buffer is full: try again after this long. */
const RETRY_MS = 2;

export function descriptorStream(fd: number): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      let at = 0;
      const next = (): void =>
        write(fd, chunk, at, chunk.length - at, null, (error, written) => {
          if (error?.code === 'EAGAIN') setTimeout(next, RETRY_MS);
          else if (error) done(error);
          else {
            at += written;
            if (at < chunk.length) next();
            else done();
          }
        });
      next();
    },
  });
}
