/** Superblock magic of tmpfs, the RAM disk of Linux (`statfs(2)`). */
export const TMPFS_MAGIC = 0x01021994;
