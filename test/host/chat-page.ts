import type { FrameLocator, Locator } from 'playwright-core';
import type { Workbench } from './browser.ts';
import { eventually } from './eventually.ts';

/** The chat page as a person sees it. */
export class ChatPage {
  readonly #workbench: Workbench;
  readonly #frame: FrameLocator;

  constructor(workbench: Workbench) {
    this.#workbench = workbench;
    this.#frame = workbench.webview();
  }

  /** Opens the view, and waits until its input has the keyboard: a page that comes up later would take it from an editor. */
  async open(): Promise<void> {
    await this.#workbench.command('Gemma: Open Chat');
    await this.input.waitFor();
    await eventually('the focus on the input', () =>
      this.input.evaluate((input) => input.ownerDocument.hasFocus() && input.matches(':focus')),
    );
  }

  get input(): Locator {
    return this.#frame.getByTestId('input');
  }

  get stopButton(): Locator {
    return this.#frame.getByTestId('stop');
  }

  get progress(): Locator {
    return this.#frame.getByTestId('progress');
  }

  get failure(): Locator {
    return this.#frame.getByTestId('failure');
  }

  get lastAnswer(): Locator {
    return this.#frame.getByRole('listitem', { name: 'Gemma' }).last();
  }

  get questions(): Locator {
    return this.#frame.getByRole('listitem', { name: 'You' });
  }

  /** Text of the last answer without its code blocks; empty while there is none. */
  async lastText(): Promise<string> {
    const prose = this.#frame.locator('.message.answer gemma-answer .prose');
    return (await prose.count()) === 0 ? '' : ((await prose.last().textContent()) ?? '').trim();
  }

  get citations(): Locator {
    return this.lastAnswer.getByTestId('citation');
  }

  get(testId: string): Locator {
    return this.#frame.getByTestId(testId);
  }

  /** Pictures of the next question. */
  get tray(): Locator {
    return this.#frame.locator('gemma-picture-tray').getByTestId('picture');
  }

  withState(state: string): Locator {
    return this.#frame.locator(`[data-state="${state}"]`);
  }

  /** How many pictures, sent or not, show what they are. */
  async thumbnails(): Promise<number> {
    const images = await this.#frame.locator('gemma-picture img').all();
    const widths = images.map((image) =>
      image.evaluate((img) => (img as { naturalWidth?: number }).naturalWidth),
    );
    return (await Promise.all(widths)).filter((width) => width !== undefined && width > 0).length;
  }

  fix(action: string): Locator {
    return this.#frame.locator(`[data-fix="${action}"]`);
  }

  get body(): Locator {
    return this.#frame.locator('body');
  }

  /** Sends a question; returns when the page has taken it. */
  async ask(question: string): Promise<void> {
    const before = await this.questions.count();
    await this.input.fill(question);
    await this.input.press('Enter');
    await this.questions.nth(before).waitFor();
  }

  /** Waits until no answer is under way; `limitMs` covers reading a repository on a slow machine. */
  async idle(limitMs = 120_000): Promise<void> {
    await this.#frame.locator('[data-testid="state"][aria-busy="false"]').waitFor({ timeout: limitMs });
  }

  /**
   * Asks and watches the page, every frame, until the answer has ended: a small model answers within a few frames.
   * With `stop`, clicks the stop button as soon as it is there.
   */
  async askAndWatch(question: string, { stop = false } = {}): Promise<WatchedAnswer> {
    const watched = this.get('state').evaluate(
      (main, stopAtOnce) =>
        new Promise<WatchedAnswer>((resolve) => {
          const window = main.ownerDocument.defaultView!;
          const lengths = new Set<number>();
          const progress = new Set<string>();
          let begun = false;
          let stopped = false;
          const look = () => {
            const activity = main.getAttribute('data-state');
            const answer = [...main.querySelectorAll('.message.answer')].at(-1);
            const reading = answer?.querySelector('gemma-reading-progress')?.shadowRoot?.querySelector('p');
            const prose = answer?.querySelector('gemma-answer')?.shadowRoot?.querySelector('.prose');
            if (activity === 'reading' || activity === 'streaming') begun = true;
            if (activity === 'reading' && reading?.textContent) progress.add(reading.textContent);
            if (activity === 'streaming' && prose) lengths.add(prose.textContent?.length ?? 0);
            if (stopAtOnce && !stopped) {
              const button = main.querySelector('gemma-composer')?.shadowRoot?.querySelector('.stop');
              (button as { click(): void } | null | undefined)?.click();
              stopped = button != null;
            }
            if (begun && (activity === 'idle' || activity === 'error')) {
              resolve({ lengths: [...lengths], progress: [...progress] });
            } else window.requestAnimationFrame(look);
          };
          look();
        }),
      stop,
    );
    await this.ask(question);
    return watched;
  }
}

/** What a person saw of one answer. */
export interface WatchedAnswer {
  /** Lengths of its text while it grew, each once. */
  readonly lengths: readonly number[];
  /** What the page said before the first word. */
  readonly progress: readonly string[];
}
