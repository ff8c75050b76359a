/** axe-core's rules over a page or a frame of one, as a person who cannot see it, or cannot see it well, meets it. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Frame, Page } from 'playwright-core';

const SOURCE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What of axe-core is called within the page. */
interface Axe {
  run(options: object): Promise<{
    readonly violations: readonly {
      readonly id: string;
      readonly help: string;
      readonly nodes: readonly { readonly target: readonly unknown[]; readonly failureSummary?: string }[];
    }[];
  }>;
}

/**
 * What violates WCAG 2.2 A and AA or axe-core's best practices, one line each; empty where nothing does.
 * `only` and `without` are ids of rules.
 */
export async function violations(
  page: Page | Frame,
  { only, without = [] }: { readonly only?: readonly string[]; readonly without?: readonly string[] } = {},
): Promise<string[]> {
  await page.evaluate(SOURCE);
  return page.evaluate(
    async ({ only, without }) => {
      const { axe } = globalThis as unknown as { readonly axe: Axe };
      const { violations } = await axe.run({
        ...(only && { runOnly: { type: 'rule', values: only } }),
        rules: Object.fromEntries(without.map((rule) => [rule, { enabled: false }])),
      });
      return violations.flatMap(({ id, help, nodes }) =>
        nodes.map(
          ({ target, failureSummary = '' }) =>
            `${id}: ${help}: ${JSON.stringify(target)} ${failureSummary.replace(/\s+/g, ' ')}`,
        ),
      );
    },
    { only, without },
  );
}
