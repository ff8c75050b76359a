/**
 * A person shows pictures to the chat in every way there is, with a real image tower in the sidecar. Text model and tower are
 * the tests' tiny ones, so what is answered means nothing; that each picture reaches the prompt does.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { MODEL_SHAPES, writeTinyModel } from '../../support/tiny-model.ts';
import { TOWER_FILE } from '../../support/tower-file.ts';
import { ENTITY_BOMB, hostileSvg, twoColours } from '../../webview/picture-files.ts';
import { Workbench } from '../browser.ts';
import { ChatPage } from '../chat-page.ts';
import { eventually } from '../eventually.ts';
import { descendantSidecars } from '../processes.ts';
import { type HostServer, startServer } from '../server.ts';
import { screenshot } from './screenshot.ts';
import { extensionSource, type FixtureWorkspace, fixtureWorkspace } from './setting.ts';

// "8 tokens" below: the tower's 4 soft tokens, two markers, two blank lines.

describe('pictures', () => {
  let workspace: FixtureWorkspace;
  let server: HostServer;
  let workbench: Workbench;
  let chat: ChatPage;
  let world: Server;
  const leaked: string[] = [];
  const path = (name: string) => join(workspace.folder, 'pictures', name);

  before(async () => {
    world = createServer((request, response) => {
      leaked.push(request.url ?? '');
      response.writeHead(200, { 'access-control-allow-origin': '*' }).end('leaked');
    });
    await new Promise<void>((resolve) => world.listen(0, '127.0.0.1', resolve));
    const { port } = world.address() as AddressInfo;
    workspace = fixtureWorkspace();
    const modelPath = join(workspace.parent, 'model.gguf');
    writeTinyModel(modelPath, { shape: { ...MODEL_SHAPES.nano, hidden: 32 }, branchScale: 0.5 });
    mkdirSync(join(workspace.folder, 'pictures'));
    writeFileSync(path('board.png'), twoColours(640, 360));
    writeFileSync(path('cut-short.png'), twoColours(640, 360).subarray(0, 300));
    writeFileSync(path('hostile.svg'), hostileSvg(`http://127.0.0.1:${port}`));
    writeFileSync(path('bomb.svg'), ENTITY_BOMB);
    writeFileSync(path('flow.mmd'), 'graph TD\n  Cart --> Price\n  Price --> Total\n');
    writeFileSync(path('shop.drawio'), drawioFile());
    writeFileSync(path('plot.ipynb'), notebookWith(twoColours(320, 200)));
    server = await startServer({
      extension: extensionSource,
      machineSettings: { 'gemmaSidecar.modelPath': modelPath, 'gemmaSidecar.imageTowerPath': TOWER_FILE },
    });
    workbench = await Workbench.launch();
    await workbench.open(server.origin, workspace.folder);
    chat = new ChatPage(workbench);
    await workbench.command('Gemma: Open Chat');
    await chat.input.waitFor();
  });

  after(async () => {
    await workbench?.close();
    await server?.stop();
    world?.close();
    workspace?.remove();
  });

  /** The one picture of the next question, once the tower has read it. */
  async function ready(): Promise<string> {
    await chat.tray.and(chat.withState('ready')).first().waitFor();
    return (await chat.tray.first().textContent()) ?? '';
  }

  async function answered(): Promise<void> {
    await chat.idle();
    assert.equal(await chat.failure.count(), 0);
  }

  /** The last question with its pictures, in words. */
  async function asked(): Promise<string> {
    const question = chat.questions.last();
    const pictures = await question.getByTestId('picture').allTextContents();
    return [...pictures, await question.textContent()].join(' ');
  }

  it('that are pasted are read while the question is typed, and sent with it', async () => {
    await workbench.paste(await workbench.page.screenshot(), chat.input);
    assert.match(await ready(), /Pasted image\s*1,440 × 900\s*8 tokens/);
    await screenshot(workbench, 'picture');
    await chat.ask('What does this window show?');
    await answered();
    assert.match(await asked(), /Pasted image.*8 tokens.*What does this window show\?/s);
  });

  it('that are dropped with Shift held are attached, and those that cannot be used are refused', async () => {
    await chat.input.fill('Which colour is on the left?');
    // The page tells what is written when nothing was typed for a moment; what it costs shows that it has.
    await chat.get('cost').filter({ hasText: 'to read' }).waitFor();
    await workbench.drop([path('cut-short.png'), path('bomb.svg'), path('board.png')], chat.input);
    assert.match(await ready(), /board\.png\s*640 × 360\s*8 tokens/);
    const problems = (await chat.get('picture-problem').allTextContents()).join();
    assert.match(problems, /“cut-short\.png” is damaged or incomplete/);
    assert.match(problems, /“bomb\.svg” declares XML entities/);
    assert.equal(await chat.input.inputValue(), 'Which colour is on the left?');
    await screenshot(workbench, 'picture-refused');
    for (const _ of [1, 2]) await chat.get('dismiss-problem').first().click();
  });

  it('that wait for the next question are there again after the window was reloaded, as are those that were asked', async () => {
    await workbench.reload();
    await workbench.command('Gemma: Open Chat');
    await chat.questions.first().waitFor();
    assert.match(await ready(), /board\.png.*8 tokens/s);
    assert.equal(await chat.input.inputValue(), 'Which colour is on the left?');
    await eventually('the thumbnails', async () => (await chat.thumbnails()) === 2);
    await chat.input.press('Enter');
    await chat.questions.nth(1).waitFor();
    await answered();
  });

  it('that are taken off while they are read are gone at once', async () => {
    const [sidecar] = descendantSidecars(server.process.pid!);
    process.kill(sidecar!.pid, 'SIGSTOP');
    try {
      await workbench.drop([path('board.png')], chat.input);
      await chat.tray.and(chat.withState('waiting')).waitFor();
      await chat.get('remove-picture').click();
      await chat.tray.waitFor({ state: 'detached' });
    } finally {
      process.kill(sidecar!.pid, 'SIGCONT');
    }
  });

  it('are chosen by the attach button; an SVG runs and loads nothing', async () => {
    await chat.get('attach').click();
    await workbench.chooseFile(path('hostile.svg'));
    assert.match(await ready(), /hostile\.svg\s*1,792 × 1,792\s*8 tokens/);
    assert.deepEqual(leaked, []);
    await chat.get('remove-picture').click();
    await chat.tray.waitFor({ state: 'detached' });
  });

  it('are explained from the Explorer', async () => {
    const before = await chat.questions.count();
    await workbench.explorerMenu(['pictures', 'board.png'], 'Explain Image');
    await chat.questions.nth(before).waitFor();
    await answered();
    assert.match(await asked(), /board\.png.*8 tokens.*Explain this image\./s);
  });

  it('of a diagram are drawn from its source, which goes along', async () => {
    const before = await chat.questions.count();
    await workbench.openFile('flow.mmd');
    await workbench.command('Gemma: Explain Diagram');
    await chat.questions.nth(before).waitFor();
    await answered();
    assert.match(await asked(), /flow\.mmd.*8 tokens.*flow\.mmd:1-4.*Explain the diagram\./s);
    await screenshot(workbench, 'diagram');
  });

  it('of a draw.io file are drawn page by page, and what is drawn in a plain form is said', async () => {
    const before = await chat.questions.count();
    await workbench.openFile('shop.drawio');
    await workbench.command('Gemma: Explain Diagram');
    await chat.questions.nth(before).waitFor();
    await answered();
    const drawn = [
      String.raw`shop\.drawio, One\s*1,792 × 1,075\s*8 tokens\s*1 shape is drawn in a plain form: lambda\.`,
      String.raw`shop\.drawio, Two\s*1,792 × 1,792\s*8 tokens`,
      String.raw`shop\.drawio:1\s*Explain the diagram\.`,
    ];
    assert.match(await asked(), new RegExp(drawn.join(String.raw`\s*`)));
    await screenshot(workbench, 'drawio');
  });

  it('in the output of a notebook cell are explained by a right click', async () => {
    const before = await chat.questions.count();
    await workbench.openNotebook('plot.ipynb');
    const notebook = await workbench.webviewWith('.output img');
    await workbench.contextMenu(notebook.locator('.output img').first(), 'Explain Image in Output');
    // The notebook has a page of its own, which must be gone before the chat's is the only one.
    await workbench.command('View: Close All Editors');
    await chat.questions.nth(before).waitFor();
    await answered();
    assert.match(await asked(), /Output of cell 1.*320 × 200.*8 tokens/s);
  });
});

/** One code cell whose output is `picture`. */
function notebookWith(picture: Buffer): string {
  const output = {
    output_type: 'display_data',
    data: { 'image/png': picture.toString('base64'), 'text/plain': ['<Figure>'] },
    metadata: {},
  };
  const cell = { cell_type: 'code', execution_count: 1, metadata: {}, source: ['plot()'], outputs: [output] };
  return JSON.stringify({ cells: [cell], metadata: {}, nbformat: 4, nbformat_minor: 5 });
}

/** Two pages, each with one cell; the second is packed as draw.io packs them. */
function drawioFile(): string {
  const page = (style: string, width: number) =>
    `<mxGraphModel><root><mxCell id="0"/><mxCell id="1" parent="0" vertex="1" style="${style}"><mxGeometry width="${width}" height="40" as="geometry"/></mxCell></root></mxGraphModel>`;
  const packed = deflateRawSync(encodeURIComponent(page('ellipse', 40))).toString('base64');
  return `<mxfile><diagram name="One">${page('shape=mxgraph.aws4.lambda', 80)}</diagram><diagram name="Two">${packed}</diagram></mxfile>`;
}
