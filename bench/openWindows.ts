export interface Pair { stop(): Promise<void> }
export async function openPair(n: number, note: (t: string) => void): Promise<Pair> { note(String(n)); return { stop: async () => undefined }; }
