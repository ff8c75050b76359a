/**
 * Every operation of every backend against the oracle. One suite per instruction set; those that this
 * process cannot run are skipped by name. GEMMA_SIDECAR_TEST_CASES scales the number of random cases.
 */
import { after, before, describe, test } from 'node:test';
import type { Backend } from '../../sidecar/engine/backend/backend.ts';
import { createOracleBackend } from '../support/oracle-backend.ts';
import { attentionTests } from './conformance/attention.ts';
import { bitIdentityTests } from './conformance/bit-identity.ts';
import { coldPageTests } from './conformance/cold-pages.ts';
import { elementWiseTests } from './conformance/element-wise.ts';
import { matrixTests } from './conformance/matrices.ts';
import { foreignPartsTests, misuseTests } from './conformance/misuse.ts';
import { sparseTests } from './conformance/sparse.ts';
import { cpuSubjects } from './conformance/subjects.ts';
import { visionTests } from './conformance/vision.ts';

describe('oracle', () => {
  misuseTests(() => createOracleBackend());
});

for (const subject of cpuSubjects()) {
  if (subject.skip !== null) {
    // A skipped test rather than a suite, so that reporters count and name it.
    test(subject.name, { skip: subject.skip });
    continue;
  }
  describe(subject.name, () => {
    let backend: Backend;
    let oracle: Backend;
    before(() => {
      backend = subject.create({ precision: 'f32', threads: 2 });
      oracle = createOracleBackend();
    });
    after(() => {
      backend.dispose();
      oracle.dispose();
    });

    elementWiseTests(
      () => backend,
      () => oracle,
    );
    attentionTests(
      () => backend,
      () => oracle,
    );
    matrixTests(subject);
    visionTests(
      subject,
      () => backend,
      () => oracle,
    );
    bitIdentityTests(subject);
    coldPageTests(subject);
    sparseTests(subject);
    const small = () => subject.create({ precision: 'int8', threads: 1 });
    misuseTests(small);
    foreignPartsTests(small);
  });
}
