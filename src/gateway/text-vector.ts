import type { TextVectors } from '../predict/text-vectors/service.js';
import type { Intake } from './intake.js';
import { lastMessageText } from './last-text.js';

/** A request whose body has been understood. */
export interface UnderstoodRequest {
  readonly phase: string;
  submit(intake: Intake): void;
  refuse(thrown: unknown): void;
}

/** Submits a request: at once where no embedder is asked, else with what it says of the last message, or without where that is not there in time. */
export function submitUnderstood(vectors: TextVectors | undefined, intake: Intake, request: UnderstoodRequest): void {
  if (!vectors) {
    request.submit(intake);
    return;
  }
  vectors.read(lastMessageText(intake.body, intake.scan) ?? '', (vector) => {
    // The client may have gone meanwhile.
    if (request.phase !== 'reading') return;
    intake.fields.features.textVector = vector;
    try {
      request.submit(intake);
    } catch (thrown) {
      request.refuse(thrown);
    }
  });
}
