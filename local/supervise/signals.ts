const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The first signal asks to stop; any further one insists. Answers how to unhook. */
export function stopOnSignals(o: { first(signal: string): Promise<void>; again(): Promise<void> }): () => void {
  let asked = false;
  const onSignal = (signal: NodeJS.Signals) => {
    const act = asked ? o.again() : o.first(signal);
    asked = true;
    void act;
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return () => {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
}
