/** Style sheets that a view imports: its chunk loads them. */
declare module "*.css";
