/**
 * Lets one job at a time through, in order. A caller whose deadline passes is told so at once; a job that has begun keeps the lane
 * until it has really ended, and one that has not begun is never run.
 */
export class Lane {
  private readonly waiting: (() => void)[] = [];
  private taken = false;

  pass<T>(deadline: number, late: (begun: boolean) => Error, job: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const start = (): void => {
        this.taken = true;
        void job()
          .then(resolve, reject)
          .finally(() => {
            clearTimeout(timer);
            this.taken = false;
            this.waiting.shift()?.();
          });
      };
      const timer = setTimeout(
        () => {
          const place = this.waiting.indexOf(start);
          if (place >= 0) this.waiting.splice(place, 1);
          reject(late(place < 0));
        },
        Math.max(0, deadline - Date.now()),
      );
      if (this.taken) this.waiting.push(start);
      else start();
    });
  }
}
