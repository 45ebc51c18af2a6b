import type { ModelPresence } from '../cluster/served-models.js';
import type { ServedModel } from './contract.js';

/** The models that clients may name, gathered from all clusters, and their other names. */
export class ServedNames {
  private readonly aliasesOf = new Map<string, string[]>();
  private aliases: Readonly<Record<string, string>> = {};

  /** @param presences What each cluster serves now. */
  constructor(
    private readonly presences: () => ReadonlyMap<string, ModelPresence>[],
    aliases: Readonly<Record<string, string>>,
  ) {
    this.rename(aliases);
  }

  /** From now on these are the other names of the models. */
  rename(aliases: Readonly<Record<string, string>>): void {
    this.aliases = aliases;
    this.aliasesOf.clear();
    for (const [alias, model] of Object.entries(aliases)) {
      const names = this.aliasesOf.get(model);
      if (names) names.push(alias);
      else this.aliasesOf.set(model, [alias]);
    }
  }

  /** More than one model is served: which one comes next is a question. */
  get several(): boolean {
    const presences = this.presences();
    if (presences.length > 1) return true;
    let models = 0;
    for (const { base } of presences[0]?.values() ?? []) if (base === undefined) models += 1;
    return models > 1;
  }

  /** Each with the names that lead to it, and to nothing else. */
  all(): readonly ServedModel[] {
    const names = new Set(this.presences().flatMap((presence) => [...presence.keys()]));
    return [...names].flatMap((name): ServedModel[] => {
      const model = this.model(name);
      const leadsHere = (asked: string) => this.resolve(asked)?.name === name;
      // Loaded by others while Maestro runs, an adapter may be called like an alias.
      if (!model || (model.base !== undefined && !leadsHere(name))) return [];
      return [{ ...model, aliases: model.aliases.filter(leadsHere) }];
    });
  }

  /** The model or adapter that a name or an alias stands for. */
  resolve(name: string): ServedModel | undefined {
    const named = Object.hasOwn(this.aliases, name) ? this.aliases[name]! : name;
    return this.model(named) ?? this.otherwiseNamed(named);
  }

  /** The model whose engines serve it under this name too. */
  private otherwiseNamed(name: string): ServedModel | undefined {
    for (const presence of this.presences()) {
      for (const { name: model, otherNames } of presence.values())
        if (otherNames.includes(name)) return this.model(model);
    }
    return undefined;
  }

  /** What has the name: a model before an adapter, the first adapter before one on another model. */
  private model(name: string): ServedModel | undefined {
    const named = this.presences().flatMap((presence) => presence.get(name) ?? []);
    const { base } = named.find((here) => here.base === undefined) ?? named[0] ?? {};
    let found: ServedModel | undefined;
    for (const here of named) {
      if (here.base !== base) continue;
      const aliases: readonly string[] = found?.aliases ?? this.aliasesOf.get(name) ?? [];
      found = {
        name,
        ...(base === undefined ? {} : { base }),
        aliases: here.otherNames.length === 0 ? aliases : [...new Set([...aliases, ...here.otherNames])],
        maxModelLen: Math.max(found?.maxModelLen ?? 0, here.maxModelLen),
        engines: (found?.engines ?? 0) + here.engines,
        enginesUp: (found?.enginesUp ?? 0) + here.enginesUp,
      };
    }
    return found;
  }
}
