/** What a screen reader is told: turning points, never single tokens. */

import { type ChatState, type ModelMessage, placeOf } from './state.ts';
import { progressLine } from './wording.ts';

/** The sentence for the step from one state to the next, or null when it is not worth one. */
export function announcement(before: ChatState, after: ChatState): string | null {
  const previous = answerOf(before);
  const answer = answerOf(after);
  const attachment = after.attachments.at(-1);
  if (attachment !== undefined && !before.attachments.includes(attachment)) {
    return `${placeOf(attachment)} goes along with the question.`;
  }
  const picture = pictureAnnouncement(before, after);
  if (picture !== null) return picture;
  if (answer === null) return previous === null ? null : 'New chat.';
  if (previous?.requestId !== answer.requestId) return 'Question sent.';
  if (quarter(after) > quarter(before)) return progressLine(after).text;
  if (previous.text === '' && answer.text !== '' && answer.end === 'streaming') return 'The answer begins.';
  return previous.end === answer.end ? null : ENDS[answer.end];
}

/** How many quarters of what comes before the answer are done: a long reading is not followed number by number. */
function quarter({ progress }: ChatState): number {
  return progress === null || progress.total <= 0 ? 0 : Math.floor((4 * progress.done) / progress.total);
}

/** What has become of a picture of the next question. */
function pictureAnnouncement(before: ChatState, after: ChatState): string | null {
  if (before.pictures === after.pictures) return null;
  for (const picture of after.pictures) {
    const previous = before.pictures.find(({ key }) => key === picture.key);
    if (previous === undefined) return `${picture.name} goes along with the question.`;
    // A failure is an alert and speaks for itself.
    if (previous.encoding.state !== 'ready' && picture.encoding.state === 'ready')
      return `${picture.name} is ready.`;
  }
  return null;
}

const ENDS: Readonly<Record<ModelMessage['end'], string | null>> = {
  streaming: null,
  complete: 'The answer is complete.',
  length: 'The answer ends because its room is full.',
  repetition: 'The answer was ended because it kept repeating itself.',
  stopped: 'The answer was stopped.',
  // The card is an alert and speaks for itself.
  failed: null,
};

function answerOf(state: ChatState): ModelMessage | null {
  const last = state.messages.at(-1);
  return last?.role === 'model' ? last : null;
}
