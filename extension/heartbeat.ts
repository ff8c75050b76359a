/**
 * Notices a sidecar that is there but does not answer. Missed beats are counted rather than timed, so that a machine
 * that slept does not make a healthy sidecar look dead.
 */

const BEAT_MS = 2_000;
/** A sidecar answers within 250 ms in normal work; four missed beats are noticed within 10 s of its last answer. */
const MISSED_LIMIT = 4;
/** A minute, while a model is loaded: its file may have to come from a slow disk. */
const PATIENT_MISSED_LIMIT = 30;

export interface HeartbeatOptions {
  /** Resolves when the sidecar answers; may reject, which is an answer too. */
  readonly ping: () => Promise<unknown>;
  /** True while long work is known to be under way. */
  readonly isPatient: () => boolean;
  /** Called once; the heartbeat has then stopped. */
  readonly onHang: () => void;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #timer: ReturnType<typeof setInterval> | undefined;
  #missed = 0;
  #waiting = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  start(): void {
    this.stop();
    this.#timer = setInterval(() => this.beat(), BEAT_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#missed = 0;
    this.#waiting = false;
  }

  /** One beat: asks again if the last question was answered, else counts it as missed. */
  beat(): void {
    if (!this.#waiting) {
      this.#missed = 0;
      this.#waiting = true;
      const answered = () => {
        this.#waiting = false;
      };
      void this.#options.ping().then(answered, answered);
      return;
    }
    this.#missed++;
    if (this.#missed < (this.#options.isPatient() ? PATIENT_MISSED_LIMIT : MISSED_LIMIT)) return;
    this.stop();
    this.#options.onHang();
  }
}
