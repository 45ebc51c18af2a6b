import { InvalidArgumentError, Option } from 'commander';
import { parseModelMap } from '../../traces/replay/models.js';
import { messageOf } from '../model/error.js';

/** `--model-map`: served models for those that a trace names. */
export function modelMapOption(): Option {
  return new Option('--model-map <map>', 'served models for recorded ones: a=b,c=d; * stands for all others').argParser(
    (text) => {
      try {
        return parseModelMap(text);
      } catch (error) {
        throw new InvalidArgumentError(`${messageOf(error)}.`);
      }
    },
  );
}
