import type { z } from 'zod';
import { type TraceHeader, type TraceRow, traceHeaderSchema, traceRowSchema } from './schema.js';

/** What is wrong with a row of a trace. */
export interface TraceIssue {
  /** Line number in the file, from 1; 0: the file as a whole. */
  readonly row: number;
  /** Path of the field, for example `wait_for[0]`; empty for the whole row. */
  readonly field: string;
  readonly message: string;
}

/** One line of a trace, checked. Blank lines are `empty`. */
export type ParsedLine =
  | { readonly kind: 'row'; readonly row: TraceRow }
  | { readonly kind: 'header'; readonly header: TraceHeader }
  | { readonly kind: 'empty' }
  | { readonly kind: 'bad' };

interface RowLinks {
  readonly line: number;
  readonly workflowId: string;
  readonly waitFor: readonly string[];
  readonly hasTimestamp: boolean;
}

/** The workflow that a row belongs to. */
export function workflowIdOf(row: TraceRow): string {
  return row.workflow_id ?? row.session_id ?? row.request_id;
}

/**
 * Checks a trace line by line, and its links when {@link finish} is called: ids are unique, `wait_for` names rows of the same
 * workflow, nothing waits in a circle, and a workflow has either no timestamps or one on each of its roots.
 */
export class TraceValidator {
  readonly issues: TraceIssue[] = [];
  private line = 0;
  private sawRow = false;
  private readonly links = new Map<string, RowLinks>();

  get rowCount(): number {
    return this.links.size;
  }

  parse(text: string): ParsedLine {
    this.line += 1;
    if (text.trim() === '') return { kind: 'empty' };
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      this.report(this.line, '', `not JSON: ${(error as Error).message}`);
      return { kind: 'bad' };
    }
    if (typeof value === 'object' && value !== null && 'maestro_trace' in value) return this.parseHeader(value);
    this.sawRow = true;
    const result = traceRowSchema.safeParse(value);
    if (!result.success) return isDecision(value) ? this.reportDecision() : this.reportZod(result.error);
    const row = result.data;
    if (row.hash_ids && row.hash_runs) {
      this.report(this.line, 'hash_runs', 'give hash_ids or hash_runs, not both');
      return { kind: 'bad' };
    }
    return this.register(row) ? { kind: 'row', row } : { kind: 'bad' };
  }

  /** Checks what needs the whole file. Call once, after the last line. */
  finish(): void {
    if (this.links.size === 0 && this.issues.length === 0) this.report(0, '', 'there is no call in this trace');
    const timed = new Map<string, boolean>();
    for (const link of this.links.values()) {
      if (link.waitFor.length > 0) continue;
      const known = timed.get(link.workflowId);
      if (known === undefined) timed.set(link.workflowId, link.hasTimestamp);
      else if (known !== link.hasTimestamp) {
        this.report(link.line, 'timestamp', `roots of workflow ${link.workflowId} must all have a timestamp or none`);
      }
    }
    for (const link of this.links.values()) this.checkWaits(link);
    if (this.issues.length === 0) this.checkCircles();
  }

  private parseHeader(value: object): ParsedLine {
    if (this.sawRow || this.line !== 1) {
      this.report(this.line, 'maestro_trace', 'a header may only be the first line');
      return { kind: 'bad' };
    }
    const result = traceHeaderSchema.safeParse(value);
    return result.success ? { kind: 'header', header: result.data } : this.reportZod(result.error);
  }

  private reportDecision(): ParsedLine {
    const command = 'maestro trace import decision-log FILE -o trace.jsonl.gz';
    this.report(this.line, '', `is of a decision log, not of a trace: "${command}" makes one of it`);
    return { kind: 'bad' };
  }

  private register(row: TraceRow): boolean {
    const earlier = this.links.get(row.request_id);
    if (earlier) {
      this.report(this.line, 'request_id', `${row.request_id} was used before, in row ${earlier.line}`);
      return false;
    }
    this.links.set(row.request_id, {
      line: this.line,
      workflowId: workflowIdOf(row),
      waitFor: row.wait_for ?? [],
      hasTimestamp: row.timestamp !== undefined,
    });
    return true;
  }

  private checkWaits(link: RowLinks): void {
    link.waitFor.forEach((id, index) => {
      const before = this.links.get(id);
      if (!before) this.report(link.line, `wait_for[${index}]`, `no row is called ${id}`);
      else if (before.workflowId !== link.workflowId) {
        this.report(
          link.line,
          `wait_for[${index}]`,
          `row ${id} belongs to workflow ${before.workflowId}, this one to ${link.workflowId}; give both the same workflow_id`,
        );
      }
    });
  }

  /** Kahn's algorithm: what cannot be reached from the roots waits in a circle. */
  private checkCircles(): void {
    const waiting = new Map<string, number>();
    const followers = new Map<string, string[]>();
    const ready: string[] = [];
    for (const [id, { waitFor }] of this.links) {
      const distinct = new Set(waitFor);
      waiting.set(id, distinct.size);
      if (distinct.size === 0) ready.push(id);
      for (const before of distinct) {
        const list = followers.get(before);
        if (list) list.push(id);
        else followers.set(before, [id]);
      }
    }
    let reached = 0;
    for (let id = ready.pop(); id !== undefined; id = ready.pop()) {
      reached += 1;
      for (const follower of followers.get(id) ?? []) {
        const left = waiting.get(follower)! - 1;
        waiting.set(follower, left);
        if (left === 0) ready.push(follower);
      }
    }
    if (reached === this.links.size) return;
    for (const [id, link] of this.links) {
      if (waiting.get(id)! > 0) {
        this.report(link.line, 'wait_for', `row ${id} waits, through others, for itself`);
        return;
      }
    }
  }

  private reportZod(error: z.ZodError): ParsedLine {
    for (const issue of error.issues) {
      const field = issue.path.reduce<string>(
        (path, key) =>
          typeof key === 'number' ? `${path}[${key}]` : path === '' ? String(key) : `${path}.${String(key)}`,
        '',
      );
      this.report(this.line, field, messageOfIssue(issue));
    }
    return { kind: 'bad' };
  }

  private report(row: number, field: string, message: string): void {
    this.issues.push({ row, field, message });
  }
}

function messageOfIssue(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'unrecognized_keys') return issue.message;
  const fields = issue.keys.map((key) => `"${key}"`).join(', ');
  return `no field of the format: ${fields} ("maestro trace schema" prints those that are, "maestro trace import" reads other formats)`;
}

/** `row 12, wait_for[0]: no row is called x`. */
export function describeIssue(issue: TraceIssue): string {
  if (issue.row === 0) return issue.message;
  return `row ${issue.row}${issue.field === '' ? '' : `, ${issue.field}`}: ${issue.message}`;
}

/** A line of Maestro's own decision log. */
function isDecision(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'stage' in value && 'prediction' in value;
}
