import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import {
  diagramBlocks,
  diagramKind,
  drawioPages,
  plainDrawio,
  plantumlSource,
  withoutPictureBytes,
} from '../../extension/diagram-source.ts';

describe('the source of a diagram', () => {
  it('is known by the name of its file', () => {
    const names = [
      'flow.mmd',
      'A.Mermaid',
      'seq.puml',
      'x.plantuml',
      'a.drawio',
      'a.dio',
      'a.drawio.svg',
      'a.png',
    ];
    assert.deepEqual(names.map(diagramKind), [
      ...['mermaid', 'mermaid', 'plantuml', 'plantuml', 'drawio', 'drawio', 'svg'],
      null,
    ]);
  });

  it('of draw.io is unpacked, and left as it is where it is not packed or damaged', () => {
    const page = '<mxGraphModel><root><mxCell id="0" value="Zahlung &amp; Prüfung"/></root></mxGraphModel>';
    const packed = deflateRawSync(encodeURIComponent(page)).toString('base64');
    const file = (inside: string) =>
      `<mxfile><diagram id="a" name="One">${inside}</diagram><diagram name="Two">${page}</diagram></mxfile>`;
    assert.equal(plainDrawio(file(packed)), file(page));
    assert.equal(plainDrawio(file(page)), file(page));
    assert.equal(plainDrawio(file('bm90IGRlZmxhdGVk')), file('bm90IGRlZmxhdGVk'));
  });

  it('of draw.io that unpacks to more than a file ever is stays packed from there on', () => {
    const packed = (megabytes: number) =>
      `<diagram>${deflateRawSync(Buffer.alloc(megabytes * 2 ** 20, 'a')).toString('base64')}</diagram>`;
    assert.equal(plainDrawio(packed(64)), packed(64));
    const file = packed(6).repeat(5);
    assert.ok(plainDrawio(file).endsWith(packed(6).repeat(4)));
    assert.ok(plainDrawio(file).startsWith('<diagram>aaaa'));
  });

  it('of draw.io is told apart by pages, with their names', () => {
    const file = `<mxfile><diagram id="a" name="One &lt; &quot;two&quot; > three"><m/></diagram>
      <diagram name='Two'\n>x</diagram><diagram><m/></diagram></mxfile>`;
    assert.deepEqual(drawioPages(file), [
      { name: 'One < "two" > three', source: '<m/>' },
      { name: 'Two', source: 'x' },
      { name: '', source: '<m/>' },
    ]);
    assert.deepEqual(drawioPages('<mxGraphModel/>'), [{ name: '', source: '<mxGraphModel/>' }]);
  });

  it('of draw.io goes to the model without the bytes of its pictures', () => {
    const style = (data: string) => `style="shape=image;image=data:image/png${data};aspect=fixed"`;
    const bytes = Buffer.alloc(200).toString('base64');
    assert.equal(withoutPictureBytes(style(`,${bytes}`)), style(',…'));
    assert.equal(withoutPictureBytes(style(`;base64,${bytes}`)), style(',…'));
    assert.equal(withoutPictureBytes(style(',iVBOR')), style(',iVBOR'));
  });

  it('is found in Markdown between its fences', () => {
    const text = [
      ...['# A', '```mermaid', 'graph TD', '  A --> B', '```', '```ts', 'const a = 1;', '```'],
      ...['~~~~plantuml', 'A -> B', '~~~', '~~~~', '```mermaid', '```', '````mermaid', 'graph TD', '```'],
    ];
    assert.deepEqual(
      diagramBlocks(text.length, (line) => text[line]!),
      [
        { kind: 'mermaid', firstLine: 2, lastLine: 3 },
        { kind: 'plantuml', firstLine: 9, lastLine: 10 },
      ],
    );
  });

  it('of PlantUML gets the lines around it that a block leaves out', () => {
    assert.equal(plantumlSource('A -> B'), '@startuml\nA -> B\n@enduml');
    assert.equal(plantumlSource('@startmindmap\n* A\n@endmindmap'), '@startmindmap\n* A\n@endmindmap');
  });
});
