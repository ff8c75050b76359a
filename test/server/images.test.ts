/** Pictures, which the chat cannot read yet: nothing answers as if it had seen one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ErrorCode } from '../../sidecar/protocol/errors.ts';
import type { Status } from '../../sidecar/protocol/methods.ts';
import { SidecarClient } from '../support/sidecar-client.ts';

const REFUSED = { code: ErrorCode.NoImageTower, message: /cannot read pictures.*describe it in words/ };

test('a picture is refused when it is attached and when it is sent, with a sentence; the status says so beforehand', async () => {
  const client = await SidecarClient.start({});
  const pixels = { width: 1, height: 1, rgba: new Uint8Array(4) };
  await assert.rejects(
    client.connection.sendRequest('gemma/encodeImage', { requestId: 'i1', pixels }),
    REFUSED,
  );
  const turns = [{ role: 'user', text: 'What is this?', images: [{ id: 'x' }] }];
  const question = { requestId: 'r1', turns, useRepository: false };
  await assert.rejects(client.connection.sendRequest('gemma/chat', question), REFUSED);
  const said = await client.connection.sendRequest('gemma/chat', {
    ...question,
    turns: [{ role: 'user', text: 'And in words?' }],
  });
  assert.ok(said, 'a question without pictures is answered');
  const { images } = await client.connection.sendRequest<Status>('gemma/status', null);
  assert.equal(images?.available, false);
  assert.match(images?.reason ?? '', REFUSED.message);
  assert.equal(await client.stop(), 0);
});
