import type { FrameLocator, Locator } from 'playwright-core';
import type { Workbench } from './browser.ts';

/** The chat page as a person sees it. */
export class ChatPage {
  readonly #frame: FrameLocator;

  constructor(workbench: Workbench) {
    this.#frame = workbench.webview();
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
    const prose = this.#frame.locator('article.answer gemma-answer .prose');
    return (await prose.count()) === 0 ? '' : ((await prose.last().textContent()) ?? '').trim();
  }

  get citations(): Locator {
    return this.lastAnswer.getByTestId('citation');
  }

  get(testId: string): Locator {
    return this.#frame.getByTestId(testId);
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
   * Watches the page from now on, every frame, until an answer has begun and ended.
   * Returns the lengths of its text on the way, each only once.
   */
  async watchAnswerGrow(): Promise<number[]> {
    return this.get('state').evaluate(
      (main) =>
        new Promise<number[]>((resolve) => {
          const window = main.ownerDocument.defaultView!;
          const lengths = new Set<number>();
          let begun = false;
          const look = () => {
            const activity = main.getAttribute('data-state');
            const answer = [...main.querySelectorAll('article.answer gemma-answer')].at(-1);
            const prose = answer?.shadowRoot?.querySelector('.prose');
            if (activity === 'reading' || activity === 'streaming') begun = true;
            if (activity === 'streaming' && prose) lengths.add(prose.textContent?.length ?? 0);
            if (begun && (activity === 'idle' || activity === 'error')) resolve([...lengths]);
            else window.requestAnimationFrame(look);
          };
          look();
        }),
    );
  }
}
