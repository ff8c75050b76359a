import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BlockStream, markdown } from '../../webview/markdown-blocks.ts';

const ANSWER = `The total is in **src/cart.ts:3**.

Setext
===

1. first

   \`\`\`ts
   const nested = 1;
   \`\`\`
2. second

- a

  continued
- b
# Heading right after

| a | b |
| - | - |
| 1 | 2 |

~~~python
def f():

    return 1
~~~

> quote
lazy

    indented code

last <b>line</b> ![picture](https://example.com/x.png)
`;

describe('a stream of Markdown', () => {
  it('ends with the same blocks however it was cut', () => {
    const whole = new BlockStream().update(ANSWER);
    for (const step of [1, 2, 3, 7, 50]) {
      const stream = new BlockStream();
      for (let end = step; end < ANSWER.length; end += step) stream.update(ANSWER.slice(0, end));
      assert.deepEqual(stream.update(ANSWER), whole, `in steps of ${step}`);
    }
  });

  it('keeps settled blocks as they are', () => {
    const stream = new BlockStream();
    const before = stream.update('One.\n\nTwo.\n\nThr');
    const after = stream.update('One.\n\nTwo.\n\nThree.\n\nFour');
    assert.equal(after[0], before[0]);
    assert.deepEqual(after[1], before[1]);
    assert.deepEqual(after[2], { kind: 'prose', source: 'Three.\n' });
  });

  it('starts over when the text is another one', () => {
    const stream = new BlockStream();
    stream.update('One.\n\nTwo.');
    assert.deepEqual(stream.update('Else'), [{ kind: 'prose', source: 'Else' }]);
  });

  it('shows open code as code, and its language only when the name is whole', () => {
    const stream = new BlockStream();
    assert.deepEqual(stream.update('```types'), [{ kind: 'code', language: '', code: '' }]);
    assert.deepEqual(stream.update('```typescript\nlet a'), [
      { kind: 'code', language: 'typescript', code: 'let a' },
    ]);
  });

  it('makes neither elements of raw HTML nor pictures', () => {
    const html = markdown.render(
      '<img src=x onerror=alert(1)> ![p](https://example.com/x.png) [l](javascript:alert(1))',
    );
    assert.doesNotMatch(html, /<img/);
    assert.doesNotMatch(html, /href="javascript/);
    assert.match(html, /&lt;img/);
  });
});
